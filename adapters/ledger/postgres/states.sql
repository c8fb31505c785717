-- The state of partitions, which are named as in partitions.sql.

-- name: load
-- A row without a name when there is none; no row when the epoch has moved on.
select s.name, s.data
from millrace.partitions p
left join millrace.states s on s.partition_id = p.id
where p.group_name = $1 and p.address = $2 and p.index = $3 and p.epoch = $4

-- name: save
-- Forgets the pieces $5, keeps $6 with the contents $7. The partition is locked first, as at the end of its transaction:
-- whoever takes it then waits for a commit, which is all that is missing, and one that stood still here would be ended.
with held as materialized (
    select p.id
    from millrace.partitions p
    where p.group_name = $1 and p.address = $2 and p.index = $3 and p.epoch = $4
    for key share
),
gone as (
    delete from millrace.states s using held h where s.partition_id = h.id and s.name = any ($5::text[])
),
kept as (
    insert into millrace.states (partition_id, name, data)
    select h.id, k.name, k.data from held h, unnest($6::text[], $7::bytea[]) as k(name, data)
    on conflict (partition_id, name) do update set data = excluded.data
)
select id from held
