-- Tables that wait: arriving changes of them are kept on this node.

-- A link cannot apply changes of a table for too long: they are kept from here on, and applied when that is possible. Returns whether the table waits.
-- Of a table that does not exist here but is mergeable, they are passed over: what is forgotten of its columns when all have it must have been applied. The table is out
-- of step then. The mark says no more than that, as errors can hold values of rows. A mergeable table that exists here does not wait: its writers must have seen
-- what this node has.
CREATE FUNCTION have_table_wait(schema_name text, table_name text, owner text, reason text, provider text) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	t regclass := (SELECT c.oid FROM pg_class c WHERE c.oid = to_regclass(format('%I.%I', $1, $2)) AND c.relkind IN ('r', 'p'));
	mergeable boolean := EXISTS (SELECT FROM replication_plugin.mergeable_table m WHERE (m.schema_name, m.table_name) = ($1, $2));
	writers text;
	patience text;
BEGIN
	IF EXISTS (SELECT FROM replication_plugin.waiting_table w WHERE (w.schema_name, w.table_name) = ($1, $2)) THEN
		RETURN true;
	END IF;
	IF mergeable AND t IS NOT NULL OR NOT EXISTS (SELECT FROM replication_plugin.local_node l WHERE l.state IN ('ready', 'leaving')) THEN
		RETURN false;
	END IF;
	IF t IS NOT NULL THEN
		-- Who writes to it has not seen what is kept from here on, and comes to an end before that. Who begins to write later is marked (catalog/awaited.h).
		-- A prepared transaction comes to no end by itself, and cannot be ended: what it has written is marked by nobody, so the table is out of step.
		-- One that has been prepared for longer than a lock is waited for is not waited for again, table by table. Tables that inherit from it are others.
		patience := current_setting('lock_timeout');
		IF replication_plugin.prepared_writers(t, clock_timestamp() - nullif(current_setting('replication_plugin.lock_patience')::interval, '0')) IS NOT NULL THEN
			PERFORM set_config('lock_timeout', '100ms', true);
		END IF;
		BEGIN
			EXECUTE format('LOCK TABLE %s %s IN SHARE MODE', CASE WHEN (SELECT c.relkind FROM pg_class c WHERE c.oid = t) = 'r' THEN 'ONLY' ELSE '' END, t);
		EXCEPTION WHEN lock_not_available THEN -- lock_timeout of links
			writers := replication_plugin.prepared_writers(t);
			IF writers IS NULL THEN
				RETURN false;
			END IF;
		END;
		PERFORM set_config('lock_timeout', patience, true);
	END IF;
	INSERT INTO replication_plugin.waiting_table (schema_name, table_name, kept, stable_xid, owner, provider, reason)
		VALUES ($1, $2, NOT mergeable, coalesce((SELECT p.stable_xid FROM replication_plugin.stable_point p), 0), $3, $5, $4)
		ON CONFLICT ON CONSTRAINT waiting_table_pkey DO NOTHING;
	IF FOUND AND (mergeable OR writers IS NOT NULL) THEN
		INSERT INTO replication_plugin.out_of_step (schema_name, table_name, node_id, lsn, what)
			VALUES ($1, $2, replication_plugin.my_id(), pg_current_wal_insert_lsn(), CASE WHEN mergeable THEN 'waits' ELSE 'prepared' END);
	END IF;
	IF writers IS NOT NULL THEN
		RAISE WARNING 'table %.% waits while % has written to it: its rows may differ between nodes', $1, $2, writers
			USING HINT = 'End the transaction; then SELECT replication_plugin.resend_table() on the node whose rows are right.';
	END IF;
	PERFORM replication_plugin.invalidate_table('replication_plugin.waiting_table');
	RETURN true;
END
$$;
COMMENT ON FUNCTION have_table_wait(text, text, text, text, text) IS 'has arriving changes of a table kept on this node, to be applied later; returns whether they are';

-- Whether a table may end waiting: nothing is kept, and the transaction for which it began to wait is here. Until then that is tried again, and would fail again. A
-- link that does not do so keeps no table waiting for ever.
CREATE FUNCTION may_end_waiting(number integer) RETURNS boolean LANGUAGE sql VOLATILE
AS $$
	SELECT EXISTS (SELECT FROM replication_plugin.waiting_table w WHERE w.number = $1
		AND NOT EXISTS (SELECT FROM replication_plugin.waiting_change c WHERE (c.schema_name, c.table_name) = (w.schema_name, w.table_name))
		AND (w.for_origin IS NULL OR w.since < now() - interval '1 hour'
			OR NOT EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = w.for_origin AND n.state <> 'removed')
			OR coalesce(replication_plugin.frontier_lsn(replication_plugin.frontier(), w.for_origin) >= w.for_lsn, false)))
$$;
COMMENT ON FUNCTION may_end_waiting(integer) IS 'whether nothing more is to be kept of a table that waits, as far as is known';

-- All that was kept of a table has been applied: it waits no more. Returns false if something was kept meanwhile, or is just being kept. The lock is taken only if it seems to be
-- so, as links wait behind it.
CREATE FUNCTION end_waiting(number integer) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	w record;
BEGIN
	IF NOT replication_plugin.may_end_waiting(number) THEN
		RETURN false;
	END IF;
	PERFORM set_config('lock_timeout', '1s', true);
	LOCK TABLE replication_plugin.waiting_change IN SHARE ROW EXCLUSIVE MODE;
	IF NOT replication_plugin.may_end_waiting(number) THEN
		RETURN false;
	END IF;
	DELETE FROM replication_plugin.waiting_table t WHERE t.number = $1 RETURNING * INTO w;
	DELETE FROM replication_plugin.awaited_state a WHERE (a.schema_name, a.table_name, a.origin_lsn) = (w.schema_name, w.table_name, '0/0');
	PERFORM replication_plugin.invalidate_table('replication_plugin.waiting_table');
	RETURN true;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
	RETURN false;
END
$$;
COMMENT ON FUNCTION end_waiting(integer) IS 'has arriving changes of a table applied at once again, when nothing is kept any more; returns whether they are';

-- Tables that wait and do not exist here, at most so many, with greater numbers than after: [number, schema, name] each; null if there are none.
CREATE FUNCTION missing_tables(after integer, most integer) RETURNS json LANGUAGE sql VOLATILE
AS $$
	SELECT json_agg(json_build_array(t.number, t.schema_name, t.table_name) ORDER BY t.number) FROM (
		SELECT w.number, w.schema_name, w.table_name FROM replication_plugin.waiting_table w
		WHERE w.kept AND w.number > $1 AND to_regclass(format('%I.%I', w.schema_name, w.table_name)) IS NULL
			AND replication_plugin.exclusion(w.schema_name, w.table_name) IS NULL
		ORDER BY w.number LIMIT $2) t
$$;
COMMENT ON FUNCTION missing_tables(integer, integer) IS 'tables that wait and do not exist here: [number, schema, name] each';

-- The same, of such a list, each with the numbers by which providers of what is kept call it: [number, schema, name, [[node, oid], ...]].
CREATE FUNCTION numbers_of_missing(tables json) RETURNS json LANGUAGE sql VOLATILE
AS $$
	SELECT json_agg(json_build_array(t->0, t->1, t->2,
		coalesce((SELECT json_agg(json_build_array(c.provider, c.relid)) FROM (SELECT DISTINCT c.provider, c.relid FROM replication_plugin.waiting_change c
			WHERE (c.schema_name, c.table_name) = (t->>1, t->>2)) c), '[]')))
	FROM json_array_elements(tables) t
$$;
COMMENT ON FUNCTION numbers_of_missing(json) IS 'tables that wait and do not exist here, with the numbers by which providers call them';

-- No member has a table any more that waits, and does not exist here: what was kept up to an id goes, at most so many changes. How many. What was kept since then
-- may be of a table that has been made anew.
CREATE FUNCTION forget_missing(number integer, last_id bigint, most integer) RETURNS bigint LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	w record;
	n bigint;
BEGIN
	SELECT * INTO w FROM replication_plugin.waiting_table t WHERE t.number = $1 AND t.kept
		AND to_regclass(format('%I.%I', t.schema_name, t.table_name)) IS NULL;
	IF NOT FOUND THEN
		RETURN 0;
	END IF;
	DELETE FROM replication_plugin.waiting_change c WHERE (c.kept_by, c.id) IN (SELECT k.kept_by, k.id FROM replication_plugin.waiting_change k
		WHERE (k.schema_name, k.table_name) = (w.schema_name, w.table_name) AND k.id <= $2
			-- whole transactions, from their ends: the first change of one has the description of the table
			AND NOT EXISTS (SELECT FROM replication_plugin.waiting_change l WHERE (l.origin, l.origin_lsn, l.schema_name, l.table_name) = (k.origin, k.origin_lsn, k.schema_name, k.table_name)
				AND l.id > $2)
		ORDER BY k.id DESC, k.kept_by DESC LIMIT $3);
	GET DIAGNOSTICS n = ROW_COUNT;
	IF n > 0 THEN
		INSERT INTO replication_plugin.conflict_log (detected_at, relid, table_name, conflict_type, resolution, detail)
			VALUES (clock_timestamp(), 0, format('%I.%I', w.schema_name, w.table_name), 'table_missing', 'skip',
				format('%s changes that were kept since %s: no member has it any more', n, w.since));
	END IF;
	RETURN n;
END
$$;
COMMENT ON FUNCTION forget_missing(integer, bigint, integer) IS 'gives up what was kept of a table that no member has any more; returns how many changes';

-- Called before its rows are sent again: changes are applied from here on, and what is kept is forgotten. Returns whether it had been waiting.
CREATE FUNCTION end_table_wait(schema_name text, table_name text) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM replication_plugin.waiting_table w WHERE (w.schema_name, w.table_name) = ($1, $2)) THEN
		RETURN false;
	END IF;
	LOCK TABLE replication_plugin.waiting_change IN SHARE ROW EXCLUSIVE MODE;
	DELETE FROM replication_plugin.waiting_change c WHERE (c.schema_name, c.table_name) = ($1, $2);
	DELETE FROM replication_plugin.waiting_table w WHERE (w.schema_name, w.table_name) = ($1, $2);
	DELETE FROM replication_plugin.awaited_state a WHERE (a.schema_name, a.table_name, a.origin_lsn) = ($1, $2, '0/0');
	PERFORM replication_plugin.invalidate_table('replication_plugin.waiting_table');
	RETURN true;
END
$$;
COMMENT ON FUNCTION end_table_wait(text, text) IS 'has arriving changes of a table applied again on this node; what was kept is forgotten, and comes with resend_table()';
