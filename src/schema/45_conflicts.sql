-- What a table does with concurrent writes.

-- Raises an error unless a relation can be mergeable; returns its schema and name.
CREATE FUNCTION require_mergeable(relation regclass, OUT schema_name text, OUT table_name text) LANGUAGE plpgsql STABLE
AS $$
DECLARE
	c record;
	reason text;
BEGIN
	SELECT n.nspname, k.relname, k.relkind, k.relpersistence, k.relispartition,
		EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.oid AND i.indisprimary) AS has_key,
		EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.oid AND i.indisprimary AND i.indisexclusion) AS temporal,
		EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.oid AND i.indisreplident AND i.indisexclusion) AS temporal_identity,
		replication_plugin.exclusion(n.nspname, k.relname) IS NULL AS replicated
		INTO c FROM pg_class k JOIN pg_namespace n ON n.oid = k.relnamespace WHERE k.oid = relation;
	reason := CASE
		WHEN c IS NULL THEN 'it does not exist'
		WHEN c.relkind = 'p' OR c.relispartition THEN 'it is partitioned'
		WHEN c.relkind <> 'r' OR c.nspname IN ('replication_plugin', 'information_schema') OR c.nspname ~ '^pg_(?!temp)' THEN 'it is no ordinary table'
		WHEN c.relpersistence = 't' THEN 'it is temporary'
		WHEN c.relpersistence = 'u' THEN 'it is unlogged'
		WHEN NOT c.has_key THEN 'it has no primary key'
		WHEN c.temporal THEN 'its primary key is WITHOUT OVERLAPS; give it another one, and make that one a unique constraint'
		WHEN c.temporal_identity THEN 'its replica identity is WITHOUT OVERLAPS; set it to DEFAULT'
		WHEN NOT c.replicated THEN 'it is excluded from replication' END;
	IF reason IS NOT NULL THEN
		RAISE EXCEPTION 'table "%" cannot have a conflict policy, or columns that merge: %', relation, reason USING ERRCODE = '42809';
	END IF;
	IF EXISTS (SELECT FROM replication_plugin.waiting_table w WHERE (w.schema_name, w.table_name) = (c.nspname, c.relname)) THEN
		RAISE EXCEPTION 'table "%" waits on this node: how its conflicts are resolved cannot be changed now', relation USING ERRCODE = '55000',
			HINT = 'The view replication_plugin.waiting_tables says why.';
	END IF;
	schema_name := c.nspname;
	table_name := c.relname;
END
$$;
COMMENT ON FUNCTION require_mergeable(regclass) IS 'an error unless a relation can be mergeable';

-- Notes that a table is mergeable, on all nodes and for ever.
CREATE FUNCTION make_mergeable(schema_name text, table_name text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	LOCK TABLE replication_plugin.mergeable_table IN SHARE ROW EXCLUSIVE MODE; -- ON CONFLICT is not for tables read in decoding
	IF NOT EXISTS (SELECT FROM replication_plugin.mergeable_table m WHERE m.schema_name = $1 AND m.table_name = $2) THEN
		INSERT INTO replication_plugin.mergeable_table VALUES ($1, $2);
	END IF;
END
$$;
COMMENT ON FUNCTION make_mergeable(text, text) IS 'notes that a table is mergeable';

-- Joining: stores what was taken over with the rows.
CREATE FUNCTION import_states() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.import_state(j.table_name::regclass, j.state) FROM replication_plugin.join_state j WHERE j.kind = 'state';
	PERFORM replication_plugin.import_parked(j.table_name::regclass, j.state) FROM replication_plugin.join_state j WHERE j.kind = 'parked';
	DELETE FROM replication_plugin.join_state;
END
$$;
COMMENT ON FUNCTION import_states() IS 'joining: stores what was taken over with the rows';

-- Notes that no write from before a table was mergeable can come any more; false if somebody is writing it.
CREATE FUNCTION settle_table(relid oid) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	IF EXISTS (SELECT FROM replication_plugin.waiting_table w JOIN pg_class c ON c.relname = w.table_name JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = w.schema_name
		WHERE c.oid = relid) THEN
		RETURN false; -- what is kept of it is still to come
	END IF;
	SET LOCAL lock_timeout = '50ms';
	EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', relid::regclass);
	INSERT INTO replication_plugin.merge_settled VALUES (relid) ON CONFLICT DO NOTHING;
	PERFORM replication_plugin.invalidate_table(relid);
	RETURN true;
EXCEPTION WHEN lock_not_available OR undefined_table THEN
	RETURN false;
END
$$;
COMMENT ON FUNCTION settle_table(oid) IS 'notes that no write from before a table was mergeable can come any more';

CREATE FUNCTION set_conflict_policy(relation regclass, policy text, handler regprocedure DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	c record;
BEGIN
	PERFORM replication_plugin.require_arguments('set_conflict_policy()', relation::text, policy);
	PERFORM replication_plugin.require_ready();
	IF policy NOT IN ('last_write_wins', 'siblings', 'handler', 'node_priority', 'first_write_wins') THEN
		RAISE EXCEPTION 'there is no conflict policy "%"', policy USING ERRCODE = '22023',
			HINT = 'Policies are last_write_wins, siblings, handler, node_priority and first_write_wins.';
	END IF;
	IF (policy = 'handler') <> (handler IS NOT NULL) THEN
		RAISE EXCEPTION 'policy "handler" needs a handler, and no other policy has one' USING ERRCODE = '22023',
			HINT = format('set_conflict_policy(%L, ''handler'', ''my_merge(%s,%s)'')', relation::text, relation::text, relation::text);
	END IF;
	c := replication_plugin.require_mergeable(relation);
	IF handler IS NOT NULL THEN
		PERFORM replication_plugin.check_handler(relation, handler);
	END IF;
	IF policy <> 'last_write_wins' THEN
		PERFORM replication_plugin.make_mergeable(c.schema_name, c.table_name);
	END IF;
	LOCK TABLE replication_plugin.table_setting IN SHARE ROW EXCLUSIVE MODE;
	UPDATE replication_plugin.table_setting s SET policy = $2, handler = $3::text
		WHERE s.schema_name = c.schema_name AND s.table_name = c.table_name;
	IF NOT FOUND THEN
		INSERT INTO replication_plugin.table_setting (schema_name, table_name, policy, handler)
			VALUES (c.schema_name, c.table_name, policy, handler::text);
	END IF;
END
$$;
COMMENT ON FUNCTION set_conflict_policy(regclass, text, regprocedure) IS
	'what happens with concurrent writes of a row, on all nodes: last_write_wins, siblings, handler (a function (older, newer) of the table''s rows), node_priority, first_write_wins';

CREATE FUNCTION set_column_merge(relation regclass, column_name text, merge text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	c record;
	a record;
	wrong boolean;
	before text;
	other boolean;
BEGIN
	PERFORM replication_plugin.require_arguments('set_column_merge()', relation::text, column_name, merge);
	PERFORM replication_plugin.require_ready();
	IF merge NOT IN ('last_write_wins', 'counter', 'set', 'map', 'none') THEN
		RAISE EXCEPTION 'there is no column merge "%"', merge USING ERRCODE = '22023',
			HINT = 'Column merges are counter, set, map, last_write_wins, and none.';
	END IF;
	c := replication_plugin.require_mergeable(relation);
	SELECT t.attnum, t.attgenerated, EXISTS (SELECT FROM pg_index i WHERE i.indrelid = relation AND i.indisprimary AND t.attnum = ANY (i.indkey)) AS is_key
		INTO a FROM pg_attribute t WHERE t.attrelid = relation AND t.attname = column_name AND t.attnum > 0 AND NOT t.attisdropped;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'table "%" has no column "%"', relation, column_name USING ERRCODE = '42703';
	END IF;
	IF a.is_key OR a.attgenerated <> '' THEN
		RAISE EXCEPTION 'column "%" cannot merge: it is %', column_name, CASE WHEN a.is_key THEN 'part of the primary key' ELSE 'generated' END
			USING ERRCODE = '42809';
	END IF;
	-- what is looked at stays so; in the order in which applying writes them
	LOCK TABLE replication_plugin.mergeable_table, replication_plugin.column_merge IN SHARE ROW EXCLUSIVE MODE;
	SELECT m.merge INTO before FROM replication_plugin.column_merge m
		WHERE (m.schema_name, m.table_name, m.column_name) = (c.schema_name, c.table_name, $2);
	IF merge = 'none' THEN
		UPDATE replication_plugin.column_merge m SET retired = true
			WHERE (m.schema_name, m.table_name, m.column_name) = (c.schema_name, c.table_name, $2);
		RETURN;
	END IF;
	PERFORM replication_plugin.check_merge(relation, column_name, merge);
	IF before <> merge THEN
		-- what nodes remember of its writes is of that kind; unless it is another column by now, of another type
		BEGIN
			PERFORM replication_plugin.check_merge(relation, column_name, before);
			other := false;
		EXCEPTION WHEN OTHERS THEN
			other := true;
		END;
		IF NOT other THEN
			RAISE EXCEPTION 'column "%" merges as %, which cannot become %', column_name, before, merge USING ERRCODE = '55000',
				HINT = 'Merge ''none'' has new writes replace the value as a whole; for another merge use a new column.';
		END IF;
	END IF;
	IF merge = 'set' THEN
		SELECT * INTO wrong FROM replication_plugin.rows_of_query(format('SELECT EXISTS (SELECT FROM %s WHERE array_ndims(%I) > 1)', relation, column_name)) AS q(found boolean);
		IF wrong THEN
			RAISE EXCEPTION 'column "%" has arrays of several dimensions, which are no sets', column_name USING ERRCODE = '22023';
		END IF;
	END IF;
	PERFORM replication_plugin.make_mergeable(c.schema_name, c.table_name);
	INSERT INTO replication_plugin.column_merge AS m VALUES (c.schema_name, c.table_name, $2, $3)
		ON CONFLICT ON CONSTRAINT column_merge_pkey DO UPDATE SET merge = excluded.merge, retired = false;
END
$$;
COMMENT ON FUNCTION set_column_merge(regclass, text, text) IS
	'how concurrent changes of a column are put together, on all nodes: counter (numbers: differences add up), set (arrays), map (jsonb, by key), last_write_wins (by itself); none: new writes replace the value as a whole';

CREATE FUNCTION set_node_priority(nodes text[]) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.require_arguments('set_node_priority()', nodes::text);
	PERFORM replication_plugin.require_ready();
	LOCK TABLE replication_plugin.node_priority IN SHARE ROW EXCLUSIVE MODE;
	INSERT INTO replication_plugin.node_priority (serial, set_by, nodes)
		SELECT coalesce(max(p.serial), 0) + 1, replication_plugin.my_id(), replication_plugin.ready_nodes($1)
		FROM replication_plugin.node_priority p;
END
$$;
COMMENT ON FUNCTION set_node_priority(text[]) IS
	'whose writes win under policy node_priority, the first most; nodes that are not named come last';

-- Raises an error unless an object has all columns of a table's key.
CREATE FUNCTION require_key(relation regclass, key jsonb) RETURNS void LANGUAGE plpgsql STABLE
AS $$
DECLARE
	missing text;
BEGIN
	IF relation IS NULL OR key IS NULL THEN
		RAISE EXCEPTION 'a row is named by its table and its key, and neither may be null' USING ERRCODE = '22004';
	ELSIF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = relation) THEN
		RAISE EXCEPTION 'there is no relation with OID %', relation::oid USING ERRCODE = '42P01';
	END IF;
	SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) INTO missing
		FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
		WHERE i.indrelid = relation AND i.indisprimary AND coalesce(key -> a.attname, 'null') = 'null';
	IF missing IS NOT NULL OR jsonb_typeof(key) <> 'object' THEN
		RAISE EXCEPTION 'the key of table "%" is not complete: % missing', relation, coalesce(missing, 'columns are') USING ERRCODE = '22023',
			HINT = 'A key is an object like {"id": 42}, with all columns of the primary key.';
	END IF;
END
$$;
COMMENT ON FUNCTION require_key(regclass, jsonb) IS 'an error unless an object has all columns of a table''s key';

CREATE FUNCTION siblings(relation regclass, key jsonb, OUT version text, OUT node text, OUT written_at timestamptz,
	OUT deleted boolean, OUT "row" jsonb) RETURNS SETOF record LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.require_key(relation, key);
	RETURN QUERY SELECT s.version, coalesce(n.node_name, s.node_id::text), s.written_at, s.deleted, s."row"::jsonb
		FROM replication_plugin.siblings_of($1, replication_plugin.row_of_json($1, $2)) WITH ORDINALITY s(version, node_id, written_at, deleted, "row", place)
		LEFT JOIN replication_plugin.nodes n USING (node_id) ORDER BY s.place;
END
$$;
COMMENT ON FUNCTION siblings(regclass, jsonb) IS
	'the concurrent values of a row, newest first, the same on every node; none if it is just deleted; key like {"id": 42}; of one whose version is not kept any more, node and time are null';

CREATE FUNCTION causal_context(relation regclass, key jsonb) RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.require_key(relation, key);
	RETURN replication_plugin.context_of(relation, replication_plugin.row_of_json(relation, key));
END
$$;
COMMENT ON FUNCTION causal_context(regclass, jsonb) IS
	'what a client that reads the row now has read: with SET LOCAL replication_plugin.causal_context its write replaces just that';

-- Waits until this node has had all that a context was read from.
CREATE FUNCTION wait_for_context(relation regclass, key jsonb, context text, timeout interval DEFAULT '10 seconds') RETURNS boolean
AS 'MODULE_PATHNAME', 'replication_plugin_wait_for_context' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION wait_for_context(regclass, jsonb, text, interval) IS
	'waits until this node has all that a causal context was read from; false after the timeout';

CREATE FUNCTION resolve(relation regclass, key jsonb, "row" jsonb, context text DEFAULT NULL) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	columns text;
	sets text;
	on_key text;
	same_key text;
	deleted bigint;
	before text := current_setting('replication_plugin.causal_context');
BEGIN
	PERFORM replication_plugin.require_key(relation, key);
	IF EXISTS (SELECT FROM pg_index i WHERE i.indrelid = relation AND i.indisprimary AND i.indisexclusion) THEN
		RAISE EXCEPTION 'table "%" has no siblings that could be resolved: its primary key is WITHOUT OVERLAPS', relation USING ERRCODE = '42809',
			HINT = 'Write its rows with INSERT, UPDATE and DELETE.';
	END IF;
	IF context IS NOT NULL THEN
		IF NOT replication_plugin.wait_for_context(relation, key, context) THEN
			RAISE EXCEPTION 'this node does not have all that the causal context was read from yet' USING ERRCODE = '40001',
				HINT = 'Try again when it has arrived, or write on the node that was read from.';
		END IF;
	END IF;
	PERFORM set_config('replication_plugin.causal_context', coalesce(context, ''), true);
	SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum),
		string_agg(format('%1$I = excluded.%1$I', a.attname), ', ' ORDER BY a.attnum),
		string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE i.indexrelid IS NOT NULL)
		INTO columns, sets, on_key
		FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
		WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
	-- equality of the key's types need not be found by its name
	SELECT string_agg(format('t.%1$I OPERATOR(%2$I.%3$s) k.%1$I', a.attname, n.nspname, o.oprname), ' AND ' ORDER BY k.place) INTO same_key
		FROM pg_index i CROSS JOIN unnest(i.indkey::smallint[], i.indclass::oid[]) WITH ORDINALITY k(attnum, opclass, place)
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum JOIN pg_opclass c ON c.oid = k.opclass
		JOIN pg_amop p ON p.amopfamily = c.opcfamily AND p.amoplefttype = c.opcintype AND p.amoprighttype = c.opcintype AND p.amopstrategy = 3
		JOIN pg_operator o ON o.oid = p.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
		WHERE i.indrelid = relation AND i.indisprimary AND k.place <= i.indnkeyatts;
	-- constraints, indexes and triggers of the table call functions by the names that its owner knows them by
	PERFORM set_config('search_path', (SELECT replication_plugin.code_search_path(c.relowner) FROM pg_class c WHERE c.oid = relation), true);
	IF "row" IS NULL THEN
		EXECUTE format('DELETE FROM %1$s t USING replication_plugin.row_of(NULL::%1$s, $1) k WHERE %2$s', relation, same_key) USING key;
		GET DIAGNOSTICS deleted = ROW_COUNT;
		IF deleted = 0 THEN
			-- of its values the newest is a delete
			PERFORM replication_plugin.delete_unshown(relation, replication_plugin.row_of_json(relation, key));
		END IF;
	ELSE
		EXECUTE format('INSERT INTO %1$s (%2$s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM replication_plugin.row_of(NULL::%1$s, $1)'
			' ON CONFLICT (%3$s) DO UPDATE SET %4$s', relation, columns, on_key, sets) USING "row" || key;
	END IF;
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	PERFORM set_config('replication_plugin.causal_context', before, true);
END
$$;
COMMENT ON FUNCTION resolve(regclass, jsonb, jsonb, text) IS
	'writes a row (null: deletes it) in the place of the siblings that the context names, or of all that this node has; a write of the caller''s, with his rights; functions that a superuser''s write calls run as who owns them';

CREATE FUNCTION test_handler(relation regclass, local jsonb, remote jsonb, OUT local_older jsonb, OUT remote_older jsonb, OUT same boolean)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	function text;
	name record := replication_plugin.require_mergeable(relation);
BEGIN
	SELECT s.handler INTO function FROM replication_plugin.table_setting s
		WHERE s.schema_name = name.schema_name AND s.table_name = name.table_name AND s.policy = 'handler';
	IF function IS NULL THEN
		RAISE EXCEPTION 'table "%" has no handler', relation USING ERRCODE = '55000',
			HINT = format('SELECT replication_plugin.set_conflict_policy(%L, ''handler'', ...) sets one.', relation::text);
	END IF;
	SELECT replication_plugin.call_handler(relation, function::regprocedure, l, r)::jsonb, replication_plugin.call_handler(relation, function::regprocedure, r, l)::jsonb
		INTO local_older, remote_older FROM (SELECT replication_plugin.row_of_json($1, $2), replication_plugin.row_of_json($1, $3)) x(l, r);
	same := local_older = remote_older;
END
$$;
COMMENT ON FUNCTION test_handler(regclass, jsonb, jsonb) IS
	'runs a table''s handler on two rows in both orders, with the rights of the table''s owner, and writes nothing';
