# ruff: noqa: S608 - the only thing put into the SQL is the constant below
"""A database's schema as lines of text that can be compared."""

from __future__ import annotations

from contracts.ports.database import Db

NOT_OURS = "('pg_catalog', 'information_schema', 'pg_toast')"

PARTS = (
    f"select format('schema %s', nspname) from pg_namespace where nspname not in {NOT_OURS}",
    f"""select format('%s %s.%s %s %s', c.relkind, n.nspname, c.relname, c.relpersistence, c.reloptions)
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname not in {NOT_OURS}""",
    f"""select format('column %s.%s.%s %s null=%s default=%s collation=%s', n.nspname, c.relname, a.attname,
            format_type(a.atttypid, a.atttypmod), not a.attnotnull, pg_get_expr(d.adbin, d.adrelid), l.collname)
        from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
        left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        left join pg_collation l on l.oid = a.attcollation
        where a.attnum > 0 and not a.attisdropped and n.nspname not in {NOT_OURS}""",
    f"select format('index %s', indexdef) from pg_indexes where schemaname not in {NOT_OURS}",
    f"""select format('constraint %s.%s %s %s', n.nspname, conrelid::regclass, conname, pg_get_constraintdef(k.oid))
        from pg_constraint k join pg_namespace n on n.oid = k.connamespace where n.nspname not in {NOT_OURS}""",
    f"""select format('function %s.%s %s', n.nspname, p.oid::regprocedure, pg_get_functiondef(p.oid))
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname not in {NOT_OURS} and prokind = 'f'""",
    "select format('trigger %s', pg_get_triggerdef(oid)) from pg_trigger where not tgisinternal",
    f"""select format('view %s.%s %s', schemaname, viewname, definition) from pg_views
        where schemaname not in {NOT_OURS}""",
    f"""select format('type %s.%s %s %s', n.nspname, t.typname, t.typtype,
            (select array_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid))
        from pg_type t join pg_namespace n on n.oid = t.typnamespace where n.nspname not in {NOT_OURS}""",
)


async def dump(db: Db) -> list[str]:
    """Tables, columns, indexes, constraints, functions, triggers, views and types, sorted."""
    return sorted([line for part in PARTS for row in await db.fetch(part) for line in row.values()])
