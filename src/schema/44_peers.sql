-- What other nodes ask here, and what their roles lack for that; what they may call: 95_peer_rights.sql.

-- How far the sequences are, for a node that joins.
CREATE FUNCTION sequence_states(OUT sequence_name text, OUT last_value bigint, OUT is_called boolean) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'replication_plugin_sequence_states' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION sequence_states() IS 'how far the sequences are, for a node that joins';

-- Called by a node that joins: ends what an earlier try has left here.
CREATE FUNCTION free_slot_of(joining integer) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	name text := replication_plugin.slot_name(joining);
BEGIN
	IF EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = joining AND n.state <> 'joining') THEN
		RAISE EXCEPTION 'node number % is taken', joining USING ERRCODE = '42710', HINT = 'Call leave_group() on the new node and join again.';
	END IF;
	PERFORM pg_terminate_backend(s.active_pid, 5000) FROM pg_replication_slots s WHERE s.slot_name = name AND s.active_pid IS NOT NULL;
	PERFORM pg_drop_replication_slot(s.slot_name) FROM pg_replication_slots s WHERE s.slot_name = name;
END
$$;
COMMENT ON FUNCTION free_slot_of(integer) IS 'drops the slot that an earlier try of a joining node has left here';

-- What the role of this session lacks to be one with which nodes connect, and what gives it that; schema_only: only what copies the schema needs it. For
-- everybody: who asks has not been given anything yet.
CREATE FUNCTION session_lacks(OUT problem text, OUT fix text, OUT schema_only boolean) RETURNS SETOF record LANGUAGE sql STABLE
AS $$
	WITH me AS (SELECT r.oid, r.rolname, r.rolreplication FROM pg_roles r WHERE r.rolname = session_user AND NOT r.rolsuper),
	peer AS (SELECT p.oid FROM pg_roles p WHERE p.rolname = 'replication_plugin_peer'),
	users_table AS (SELECT c.oid, c.oid::regclass::text AS name, n.nspname, c.relispartition, replication_plugin.my_id() IS NOT NULL
			AND replication_plugin.exclusion(n.nspname, c.relname) IS NULL AND c.relpersistence = 'p' AS replicated,
			has_schema_privilege(me.oid, n.oid, 'USAGE') AS schema_open, has_table_privilege(me.oid, c.oid, 'SELECT') AS open
		FROM me, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.oid >= 16384
			AND n.nspname NOT IN ('replication_plugin', 'information_schema') AND n.nspname !~ '^pg_')
	SELECT format('role "%s" has not the rights of role "replication_plugin_peer"', me.rolname),
		CASE WHEN pg_has_role(me.oid, peer.oid, 'MEMBER') THEN format('ALTER ROLE %I INHERIT', me.rolname) ELSE format('GRANT replication_plugin_peer TO %I', me.rolname) END, false
		FROM me, peer WHERE NOT pg_has_role(me.oid, peer.oid, 'USAGE')
	UNION ALL
	SELECT format('role "%s" may not replicate', me.rolname), format('ALTER ROLE %I REPLICATION', me.rolname), false FROM me WHERE NOT me.rolreplication
	UNION ALL
	SELECT format('row security hides rows of %s from role "%s", and all rows are copied', string_agg(t.name, ', ' ORDER BY t.name), me.rolname),
		format('ALTER ROLE %I BYPASSRLS', me.rolname), false
		FROM me, users_table t WHERE t.replicated AND row_security_active(t.oid) AND NOT t.relispartition GROUP BY me.rolname
	UNION ALL
	SELECT format('role "%s" may not use schema %s, and the schema of the whole database is copied', me.rolname, string_agg(DISTINCT quote_ident(t.nspname), ', ')),
		format('GRANT USAGE ON SCHEMA %s TO %I', string_agg(DISTINCT quote_ident(t.nspname), ', '), me.rolname), true
		FROM me, users_table t WHERE NOT t.schema_open AND NOT t.replicated GROUP BY me.rolname
	UNION ALL
	SELECT format('role "%s" may not read %s, which %s, and who copies the schema locks all tables', me.rolname, string_agg(t.name, ', ' ORDER BY t.name),
			CASE count(*) WHEN 1 THEN 'is not replicated' ELSE 'are not replicated' END),
		format('GRANT SELECT ON %s TO %I', string_agg(t.name, ', ' ORDER BY t.name), me.rolname), true
		FROM me, users_table t WHERE NOT t.open AND NOT t.replicated AND replication_plugin.my_id() IS NOT NULL GROUP BY me.rolname
	UNION ALL
	SELECT format('role "%s" may not read replicated tables: %s', me.rolname, string_agg(t.name, ', ' ORDER BY t.name)),
		'SELECT replication_plugin.capture_install_all()', false
		FROM me, users_table t WHERE t.replicated AND NOT (t.open AND t.schema_open) AND EXISTS (SELECT FROM peer WHERE pg_has_role(me.oid, peer.oid, 'USAGE')) GROUP BY me.rolname
$$;
COMMENT ON FUNCTION session_lacks() IS 'what the role of this session lacks to be one with which nodes connect, and what gives it that; schema_only: only what copies the schema needs it';

-- Raises an error about the first thing that the role of a dsn lacks.
CREATE FUNCTION require_rights(dsn text, with_schema boolean) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	lacks text[];
BEGIN
	SELECT q INTO lacks FROM replication_plugin.remote_query(dsn, 'SELECT problem, fix FROM replication_plugin.session_lacks()'
		|| CASE WHEN with_schema THEN '' ELSE ' WHERE NOT schema_only' END || ' LIMIT 1') q;
	IF lacks IS NOT NULL THEN
		RAISE EXCEPTION 'the dsn "%" leads to a session with too few rights: %', replication_plugin.dsn_without_password(dsn), lacks[1]
			USING ERRCODE = '42501', HINT = format('There: %s. Or give a superuser''s dsn.', lacks[2]);
	END IF;
END
$$;
COMMENT ON FUNCTION require_rights(text, boolean) IS 'an error about the first thing that the role of a dsn lacks';
