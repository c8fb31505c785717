#!/bin/sh
# Publishes a command with Kafka's own tools, as any other program would, and shows what became of it. After `./task up`.
set -eu
cd "$(dirname "$0")/.."

compose() { sh deploy/compose.sh --profile core "$@"; }

# The id is ours to choose: the job has it, and a second command with it is the same command.
id=demo-$(date +%Y%m%dT%H%M%S)
command='{"dataset": "trips", "date": "2019-01-15"}'

echo "Publishing $command to run.batch_etl as $id"
printf 'message-id:%s\t%s\n' "$id" "$command" |
  compose exec --no-TTY kafka /opt/kafka/bin/kafka-console-producer.sh \
    --bootstrap-server localhost:19092 --topic run.batch_etl --property parse.headers=true

# Until a worker has recorded it.
tries=0
until compose exec --no-TTY worker millrace jobs show "$id" >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 30 ] || { echo "No worker has taken it within a minute: see ./task logs" >&2; exit 1; }
  sleep 2
done
compose exec --no-TTY worker millrace jobs wait "$id"
compose exec --no-TTY worker millrace quarantine list --dataset trips
compose exec --no-TTY postgres psql --username millrace --dbname millrace \
  --command 'select count(*) as trips, sum(total_amount) as total from trips'
