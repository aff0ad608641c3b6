-- Writes the queries that, run one after the other, give all that a database holds, a line each.
--
-- Numbers of objects are replaced by what they stand for: https://www.postgresql.org/docs/current/functions-info.html
-- Left out is what every session of an engine sets, and what the server changes by itself: https://www.postgresql.org/docs/current/catalog-pg-class.html
WITH reference AS (
    SELECT DISTINCT fktable, fkcols[1] AS col, pktable, is_array
    FROM pg_get_catalog_foreign_keys() WHERE cardinality(fkcols) = 1
), col AS (
    SELECT c.oid, c.relname, a.attnum, a.attname, r.pktable, r.is_array
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN reference r ON r.fktable = c.oid AND r.col = a.attname
    WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
    AND c.relname NOT IN ('pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject', 'pg_depend')
    AND a.attname NOT IN ('relfilenode', 'relpages', 'reltuples', 'relallvisible', 'relallfrozen', 'relfrozenxid',
        'relminmxid', 'relhasindex', 'relhasrules', 'relhastriggers', 'relhassubclass', 'relrewrite', 'indcheckxmin')
    AND a.atttypid <> 'pg_node_tree'::regtype AND has_table_privilege(c.oid, 'SELECT')
), part AS (
    SELECT relname, attnum, format('x.%I::text', attname) AS plain,
        first_value(attname) OVER (PARTITION BY oid ORDER BY attnum) AS key,
        CASE
        WHEN attname = 'oid' AND relname IN ('pg_enum', 'pg_largeobject_metadata') THEN NULL
        WHEN attname = 'oid' THEN format('pg_describe_object(%s, x.oid, 0)', oid)
        WHEN attname = 'objoid' THEN 'pg_describe_object(x.classoid, x.objoid, x.objsubid)'
        WHEN pktable = 'pg_authid'::regclass AND NOT is_array THEN format('x.%I::regrole::text', attname)
        WHEN pktable IS NULL OR pktable IN ('pg_authid'::regclass, 'pg_database'::regclass, 'pg_tablespace'::regclass)
            THEN format('x.%I::text', attname)
        WHEN is_array THEN format('(SELECT string_agg(CASE WHEN o < 16384 THEN o::text '
            'ELSE pg_describe_object(%2$s, o, 0) END, '' '') FROM unnest(x.%1$I) o)', attname, pktable::oid)
        ELSE format('CASE WHEN x.%1$I < 16384 THEN x.%1$I::text ELSE pg_describe_object(%2$s, x.%1$I, 0) END',
            attname, pktable::oid)
        END AS described
    FROM col
), catalog AS (
    SELECT relname, min(key) AS key,
        string_agg(format('coalesce(%s, ''-'')', plain), ', ' ORDER BY attnum) AS plain,
        string_agg(format('coalesce(%s, ''-'')', described), ', ' ORDER BY attnum) FILTER (WHERE described IS NOT NULL)
            AS described
    FROM part GROUP BY relname
), held AS (
    SELECT c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384 AND n.nspname !~ '^pg_(toast|temp)'
), line AS (
    -- What initdb has made has the same number everywhere.
    SELECT format('SELECT %L || sum(hashtextextended(%s, 0)) FROM pg_catalog.%I x WHERE x.%I < 16384',
        relname || ' of the server: ', CASE WHEN relname = 'pg_class' THEN format('concat(%s)', plain) ELSE 'x::text' END,
        relname, key) AS query
    FROM catalog
    UNION ALL
    SELECT format('SELECT regexp_replace(%L || concat_ws(''|'', %s), '
        '''(pg_toast_|pg_temp_|pg_toast_temp_|RI_ConstraintTrigger_[ac]_)\d+'', ''\1N'', ''g'') '
        'FROM pg_catalog.%I x WHERE x.%I >= 16384%s', relname || ': ', described, relname, key,
        CASE WHEN relname = 'pg_namespace' THEN ' AND x.nspname !~ ''^pg_(toast_)?temp_''' ELSE '' END)
    FROM catalog
    UNION ALL
    -- When a migration ran, and for how long, is not of the database.
    SELECT format('SELECT %L || %s::text FROM ONLY %s x', 'row of ' || name || ': ',
        CASE WHEN name = 'public._sqlx_migrations' THEN '(version, description, success, checksum)' ELSE 'x' END, name)
    FROM held WHERE relkind IN ('r', 'm')
    UNION ALL
    SELECT format('SELECT %L || last_value || '' '' || is_called FROM %s', 'sequence ' || name || ': ', name)
    FROM held WHERE relkind = 'S'
    UNION ALL
    SELECT unnest(ARRAY[
        'SELECT ''view '' || oid::regclass || '': '' || pg_get_viewdef(oid) FROM pg_class WHERE oid >= 16384 AND relkind IN (''v'', ''m'')',
        'SELECT ''index: '' || pg_get_indexdef(indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid '
            'WHERE indexrelid >= 16384 AND c.relnamespace <> ''pg_toast''::regnamespace',
        'SELECT ''constraint '' || conname || '': '' || pg_get_constraintdef(oid) FROM pg_constraint WHERE oid >= 16384',
        'SELECT ''rule: '' || pg_get_ruledef(oid) FROM pg_rewrite WHERE oid >= 16384',
        'SELECT ''trigger: '' || pg_get_triggerdef(oid) FROM pg_trigger WHERE oid >= 16384 AND NOT tgisinternal',
        'SELECT ''function: '' || pg_get_functiondef(oid) FROM pg_proc WHERE oid >= 16384 AND prokind <> ''a''',
        'SELECT ''default of '' || adrelid::regclass || '': '' || pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE oid >= 16384',
        'SELECT ''policy '' || polname || '': '' || coalesce(pg_get_expr(polqual, polrelid), '''') FROM pg_policy',
        'SELECT ''statistics: '' || pg_get_statisticsobjdef(oid) FROM pg_statistic_ext',
        'SELECT ''large object '' || oid || '': '' || encode(lo_get(oid), ''escape'') FROM pg_largeobject_metadata',
        'SELECT ''database: '' || concat_ws(''|'', datdba::regrole, encoding, datcollate, datctype, datistemplate, datallowconn, '
            'datconnlimit, datacl) FROM pg_database WHERE datname = current_database()',
        'SELECT ''setting of the database: '' || setrole || setconfig::text FROM pg_db_role_setting s '
            'JOIN pg_database d ON d.oid = setdatabase WHERE datname = current_database()',
        'SELECT ''planner: '' || concat_ws('' '', oid::regclass, relpages, reltuples, relallvisible) FROM pg_class '
            'WHERE oid >= 16384 AND relkind IN (''r'', ''m'', ''p'')',
        'SELECT ''planner: '' || concat_ws('' '', tablename, attname, n_distinct) FROM pg_stats '
            'WHERE schemaname NOT IN (''pg_catalog'', ''information_schema'')',
        'SELECT ''prepared transaction: '' || gid FROM pg_prepared_xacts WHERE database = current_database()',
        'SELECT ''setting of the session: '' || name || '' = '' || setting FROM pg_settings '
            'WHERE source = ''session'' AND name NOT IN (''application_name'', ''client_connection_check_interval'')',
        'SELECT ''user of the session: '' || session_user || '' '' || current_user',
        'SELECT ''prepared statement: '' || name FROM pg_prepared_statements WHERE from_sql',
        'SELECT ''cursor: '' || name FROM pg_cursors WHERE name <> ''''',
        'SELECT ''lock: '' || objid FROM pg_locks WHERE locktype = ''advisory'' AND pid = pg_backend_pid()',
        'SELECT ''channel: '' || channel FROM pg_listening_channels() channel',
        'SELECT ''visitor: '' || query FROM pg_stat_activity WHERE datname = current_database() AND application_name = ''visitor'''
    ])
)
SELECT query FROM line
