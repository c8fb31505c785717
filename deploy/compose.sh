#!/bin/sh
# `docker compose` with the passwords of this machine: made at the first call, kept in .env/compose.secret.env, which git
# ignores. A name that is new in this list is added to a file that is there already.
set -eu
umask 077

NAMES='POSTGRES_PASSWORD HTTP_TOKEN MINIO_PASSWORD VAULT_TOKEN GRAFANA_PASSWORD'

cd "$(dirname "$0")/.."
passwords=.env/compose.secret.env
docker compose version >/dev/null 2>&1 || {
  echo 'Docker with its compose plugin (2.24 or newer) is needed: https://docs.docker.com/engine/install' >&2
  exit 1
}
touch "$passwords"
for name in $NAMES; do
  # Hexadecimal, so that it can stand in a URL as it is.
  grep -q "^$name=" "$passwords" || printf '%s=%s\n' "$name" "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >>"$passwords"
done
exec docker compose --env-file "$passwords" "$@"
