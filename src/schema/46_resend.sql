-- Gives the rows of a table as they are on this node to all others.

CREATE FUNCTION resend_table(relation regclass) RETURNS bigint LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	c record;
	list text;
	member record;
	n bigint;
	-- planning the query computes what is constant in expressions of indexes: the owners' code
	as_owners text := 'SELECT set_config(''replication_plugin.code_as_owners'', ''on'', false) WHERE to_regprocedure(''replication_plugin.rows_of_query(text)'') IS NOT NULL';
BEGIN
	PERFORM replication_plugin.require_arguments('resend_table()', relation::text);
	PERFORM replication_plugin.require_ready();
	SELECT s.nspname, k.relname, coalesce(t.replicated, false) AS replicated, coalesce(t.identity LIKE 'key %', false) AS has_key,
		CASE k.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END AS scope, -- tables that inherit from it are others
		(SELECT string_agg(format('format(''%%s'', %I)', a.attname), ', ' ORDER BY u.place)
			FROM (SELECT y.indkey, y.indnkeyatts FROM pg_index y
				WHERE y.indrelid = k.oid AND y.indisvalid AND y.indimmediate AND (y.indisreplident AND k.relreplident = 'i' OR y.indisprimary)
				ORDER BY (y.indisreplident AND k.relreplident = 'i') DESC LIMIT 1) x,
			unnest(x.indkey[0:x.indnkeyatts - 1]) WITH ORDINALITY u(attnum, place), pg_attribute a
			WHERE a.attrelid = k.oid AND a.attnum = u.attnum) AS columns
		INTO c FROM pg_class k JOIN pg_namespace s ON s.oid = k.relnamespace
		LEFT JOIN replication_plugin.tables t ON t."table" = k.oid WHERE k.oid = relation;
	IF NOT FOUND OR NOT c.replicated OR NOT c.has_key THEN
		RAISE EXCEPTION 'table "%" is not replicated by a key', relation USING ERRCODE = '55000',
			HINT = 'Rows without a key are the same on all nodes only if their tables are emptied and filled again.';
	END IF;
	-- keys that others have and this node has not: they are deleted there, if they had been here
	CREATE TEMP TABLE IF NOT EXISTS replication_plugin_keys (key text[]) ON COMMIT DROP;
	DELETE FROM pg_temp.replication_plugin_keys;
	list := format('SELECT %s FROM %s%I.%I', c.columns, c.scope, c.nspname, c.relname);
	FOR member IN SELECT m.node_name, m.dsn FROM replication_plugin.node m
		WHERE m.state = 'ready' AND m.node_id <> replication_plugin.my_id() ORDER BY m.node_id
	LOOP
		BEGIN
			-- an error, where row security would hide some
			INSERT INTO pg_temp.replication_plugin_keys SELECT q FROM replication_plugin.remote_query(member.dsn, list, before => 'SET row_security = off; ' || as_owners) q;
			PERFORM replication_plugin.remote_query(member.dsn, format('SELECT replication_plugin.end_table_wait(%L, %L)', c.nspname, c.relname));
			IF NOT (SELECT q[1] = 't' FROM replication_plugin.remote_query(member.dsn, 'SELECT replication_plugin.wait_for_apply()') q) THEN
				RAISE EXCEPTION 'writes of node "%" do not arrive everywhere', member.node_name USING ERRCODE = '55000',
					HINT = 'See replication_plugin.links on all nodes, and try again when they go on.';
			END IF;
		EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
			RAISE EXCEPTION 'member "%" cannot be reached: %', member.node_name, SQLERRM USING ERRCODE = '08001',
				HINT = 'Start it, or take it out with remove_node().';
		END;
	END LOOP;
	PERFORM replication_plugin.end_table_wait(c.nspname, c.relname);
	EXECUTE format('LOCK TABLE %I.%I IN SHARE ROW EXCLUSIVE MODE', c.nspname, c.relname);
	DELETE FROM pg_temp.replication_plugin_keys k USING replication_plugin.remote_query((SELECT l.dsn FROM replication_plugin.local_node l), list, before => 'SET row_security = off; ' || as_owners) q WHERE k.key = q;
	PERFORM replication_plugin.delete_key(relation, k.key) FROM (SELECT DISTINCT key FROM pg_temp.replication_plugin_keys) k;
	n := replication_plugin.resend_rows(relation);
	INSERT INTO replication_plugin.out_of_step (schema_name, table_name, node_id, lsn, what, seen)
		VALUES (c.nspname, c.relname, replication_plugin.my_id(), pg_current_wal_insert_lsn(), 'resent', replication_plugin.frontier());
	RETURN n;
END
$$;
COMMENT ON FUNCTION resend_table(regclass) IS
	'gives the rows of a table as they are on this node to all others, in place of theirs: after writes got past the triggers; returns how many. Stop writing to the table meanwhile';

-- For a table that is gone for good, or whose rows are not wanted here.
CREATE FUNCTION discard_kept_changes(schema_name text, table_name text) RETURNS bigint LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	n bigint;
BEGIN
	PERFORM replication_plugin.require_arguments('discard_kept_changes()', schema_name, table_name);
	PERFORM replication_plugin.require_ready();
	SELECT count(*) INTO n FROM replication_plugin.waiting_change c WHERE (c.schema_name, c.table_name) = ($1, $2);
	IF NOT replication_plugin.end_table_wait(schema_name, table_name) THEN
		RAISE EXCEPTION 'table "%.%" does not wait on this node', schema_name, table_name USING ERRCODE = '55000',
			HINT = 'See the view replication_plugin.waiting_tables.';
	END IF;
	IF to_regclass(format('%I.%I', $1, $2)) IS NOT NULL THEN
		INSERT INTO replication_plugin.out_of_step (schema_name, table_name, node_id, lsn, what)
			VALUES ($1, $2, replication_plugin.my_id(), pg_current_wal_insert_lsn(), 'discarded');
	END IF;
	RETURN n;
END
$$;
COMMENT ON FUNCTION discard_kept_changes(text, text) IS
	'forgets what is kept of a table that waits on this node, and has what arrives from now on applied again; returns how many changes were forgotten. If the table exists here, it is out of step then: resend_table()';
