-- Who may ask what over HTTP. `digest` is the SHA-256 of a secret that nobody can be told again. A key that is revoked
-- stays: as long as one was ever made, HTTP answers nobody without one.
create table millrace.api_keys (
    id text collate "C" primary key,
    name text not null,
    digest bytea not null,
    scopes text[] not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
create unique index api_keys_name on millrace.api_keys (name) where revoked_at is null;
