-- What a database lacks to become a member.

-- Partitions of replicated tables that are foreign tables: such tables cannot be replicated.
CREATE FUNCTION foreign_partitions(OUT root regclass, OUT partition regclass) RETURNS SETOF record LANGUAGE sql STABLE
AS $$
	SELECT r.oid::regclass, p.oid::regclass
	FROM pg_class p JOIN pg_class r ON r.oid = pg_partition_root(p.oid) JOIN pg_namespace n ON n.oid = r.relnamespace
	WHERE p.relkind = 'f' AND p.relispartition AND replication_plugin.exclusion(n.nspname, r.relname) IS NULL
$$;
COMMENT ON FUNCTION foreign_partitions() IS 'partitions of replicated tables that are foreign tables: such tables cannot be replicated';

-- Raises an error if there are any.
CREATE FUNCTION require_no_foreign_partitions() RETURNS void LANGUAGE plpgsql STABLE
AS $$
DECLARE
	f record;
BEGIN
	SELECT * INTO f FROM replication_plugin.foreign_partitions() LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'table % cannot be replicated: its partition % is a foreign table', f.root, f.partition USING ERRCODE = '55000',
			DETAIL = 'Its rows are on another server, and changes of them would not get to other nodes.',
			HINT = format('SELECT replication_plugin.exclude_table(%L), or detach the partition.', f.root);
	END IF;
END
$$;
COMMENT ON FUNCTION require_no_foreign_partitions() IS 'an error if a replicated table has a foreign partition';

-- What the role of a dsn lacks where it leads.
CREATE FUNCTION rights_by(dsn text, OUT ok boolean, OUT detail text, OUT fix text) LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	-- what only joins with the schema need is told, and no fault
	SELECT count(*) FILTER (WHERE NOT l.schema_only) = 0, coalesce(string_agg(CASE WHEN l.schema_only THEN format('for joins that copy the schema: %s: %s', l.problem, l.fix) ELSE l.problem END,
			'; ' ORDER BY l.schema_only), 'role "' || min(l.role) || '" has all that it needs'), string_agg(l.fix, '; ') FILTER (WHERE NOT l.schema_only) INTO ok, detail, fix
		FROM (SELECT q.r[1] AS role, q.r[2] AS problem, q.r[3] AS fix, q.r[4] = 't' AS schema_only FROM replication_plugin.remote_query(dsn,
			'SELECT session_user, l.problem, l.fix, l.schema_only FROM (SELECT) x LEFT JOIN replication_plugin.session_lacks() l ON true') q(r)) l;
EXCEPTION WHEN others THEN
	ok := false;
	detail := SQLERRM;
	GET STACKED DIAGNOSTICS fix = PG_EXCEPTION_HINT;
	fix := coalesce(nullif(fix, ''), 'make the node reachable from here');
END
$$;
COMMENT ON FUNCTION rights_by(text) IS 'what the role of a dsn lacks where it leads';

CREATE FUNCTION preflight(OUT requirement text, OUT ok boolean, OUT detail text, OUT fix text)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	n integer;
	free integer;
	peer record;
	places record;
	answer text[];
	t0 timestamptz;
	doubt integer;
	names text;
	own_dsn text;
BEGIN
	requirement := 'shared_preload_libraries';
	detail := current_setting('shared_preload_libraries');
	BEGIN
		PERFORM replication_plugin.instance_token();
		ok := true;
	EXCEPTION WHEN object_not_in_prerequisite_state THEN
		ok := false;
	END;
	fix := CASE WHEN NOT ok THEN 'in postgresql.conf: shared_preload_libraries = ''replication_plugin''; restart' END;
	RETURN NEXT;

	requirement := 'wal_level';
	detail := current_setting('wal_level');
	-- since PostgreSQL 19, a server with wal_level = replica decodes as soon as there is a logical slot
	ok := detail = 'logical' OR (detail = 'replica' AND current_setting('effective_wal_level', true) IS NOT NULL);
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET wal_level = logical; restart' END;
	RETURN NEXT;

	requirement := 'track_commit_timestamp';
	-- while this server has nodes, timestamps are kept against the setting, so that no version is lost
	detail := CASE WHEN (SELECT u.problem FROM replication_plugin.unmet_requirement() u) LIKE 'track_commit_timestamp%' THEN 'off'
		ELSE current_setting('track_commit_timestamp') END;
	ok := detail = 'on';
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET track_commit_timestamp = on; restart' END;
	RETURN NEXT;

	requirement := 'output_plugin_libraries';
	detail := coalesce(current_setting('output_plugin_libraries', true), 'this server does not have the setting: every plugin is allowed');
	ok := current_setting('output_plugin_libraries', true) IS NULL OR EXISTS (
		SELECT FROM regexp_split_to_table(detail, '[[:space:]]*,[[:space:]]*') l WHERE trim(both '" ' FROM l) = 'replication_plugin');
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET output_plugin_libraries = ' || detail || ', replication_plugin; SELECT pg_reload_conf()' END;
	RETURN NEXT;

	-- a slot and a walsender per other member, an origin per other member, and the group slot
	n := greatest((SELECT count(*) FROM replication_plugin.node WHERE state <> 'removed'), 2)
		- (SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ ('^' || left(replication_plugin.slot_name(0), -1) || '([0-9]+|group)$'));
	requirement := 'replication slots';
	free := current_setting('max_replication_slots')::integer - (SELECT count(*) FROM pg_replication_slots);
	detail := free || ' free of ' || current_setting('max_replication_slots');
	ok := free >= n;
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET max_replication_slots = 20; restart' END;
	RETURN NEXT;

	requirement := 'max_slot_wal_keep_size';
	detail := current_setting('max_slot_wal_keep_size');
	ok := detail = '-1';
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET max_slot_wal_keep_size = -1; reload: else one member that is away takes all others out. replication_plugin.max_retained_wal is the limit that takes out that one' END;
	RETURN NEXT;

	requirement := 'idle_replication_slot_timeout';
	detail := coalesce(current_setting('idle_replication_slot_timeout', true), 'this server does not have the setting: slots stay');
	ok := coalesce((SELECT s.setting = '0' FROM pg_settings s WHERE s.name = 'idle_replication_slot_timeout'), true);
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET idle_replication_slot_timeout = 0; reload: else a node has to join anew after a time in which it did nothing' END;
	RETURN NEXT;

	requirement := 'replication origins';
	-- for each member that has none; in no group yet: for another member, and for rows that are copied
	SELECT * INTO places FROM replication_plugin.origin_places();
	free := places.places - places.used;
	detail := format('%s free of %s (%s)', free, places.places, places.setting) || coalesce(', none yet for ' || places.names, '');
	ok := free >= CASE WHEN replication_plugin.my_id() IS NULL THEN 2 ELSE places.lacking END;
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET ' || places.setting || ' = 20; restart' END;
	RETURN NEXT;

	requirement := 'walsenders';
	free := current_setting('max_wal_senders')::integer - (SELECT count(*) FROM pg_stat_replication);
	detail := free || ' free of ' || current_setting('max_wal_senders');
	ok := free >= n;
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET max_wal_senders = 20; restart' END;
	RETURN NEXT;

	requirement := 'worker processes';
	n := greatest((SELECT count(*) FROM replication_plugin.node WHERE state <> 'removed') - 1, 1) + 4;
	detail := current_setting('max_worker_processes') || ', at least ' || n || ' for this group';
	ok := current_setting('max_worker_processes')::integer >= n;
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET max_worker_processes = 20; restart' END;
	RETURN NEXT;

	requirement := 'rights';
	detail := current_user;
	SELECT rolsuper INTO ok FROM pg_roles WHERE rolname = current_user;
	fix := CASE WHEN NOT ok THEN 'call the commands as a superuser' END;
	SELECT l.dsn INTO own_dsn FROM replication_plugin.local_node l;
	IF ok AND own_dsn IS NOT NULL THEN
		SELECT r.ok, r.detail, r.fix INTO ok, detail, fix FROM replication_plugin.rights_by(own_dsn) r;
	END IF;
	RETURN NEXT;

	requirement := 'encoding';
	detail := getdatabaseencoding();
	ok := detail <> 'SQL_ASCII';
	fix := CASE WHEN NOT ok THEN 'texts of SQL_ASCII databases have no known encoding; create the database with another' END;
	RETURN NEXT;

	requirement := 'tables have keys';
	SELECT count(*), string_agg(t."table"::text, ', ' ORDER BY t."table"::text) INTO n, names
		FROM replication_plugin.tables t WHERE t.replicated AND t.identity = 'none';
	ok := n = 0;
	detail := CASE WHEN ok THEN 'all' ELSE n || ' without: ' || names END;
	fix := CASE WHEN NOT ok THEN 'ALTER TABLE ... ADD PRIMARY KEY, or ... REPLICA IDENTITY FULL, or SELECT replication_plugin.exclude_table(...)' END;
	RETURN NEXT;

	requirement := 'no foreign partitions';
	SELECT string_agg(format('%s (%s)', f.root, f.partition), ', ' ORDER BY f.root::text, f.partition::text) INTO names FROM replication_plugin.foreign_partitions() f;
	ok := names IS NULL;
	detail := coalesce(names, 'none in replicated tables');
	fix := CASE WHEN NOT ok THEN 'their rows are elsewhere: SELECT replication_plugin.exclude_table(...) of the tables, or ALTER TABLE ... DETACH PARTITION' END;
	RETURN NEXT;

	FOR peer IN SELECT m.node_name, m.dsn FROM replication_plugin.node m
		WHERE m.state <> 'removed' AND m.node_id <> replication_plugin.my_id() ORDER BY m.node_id
	LOOP
		requirement := 'clock of node ' || peer.node_name;
		BEGIN
			t0 := clock_timestamp();
			SELECT q INTO answer FROM replication_plugin.remote_query(peer.dsn,
				'SELECT extract(epoch FROM clock_timestamp())') q;
			-- it was read at any moment since then
			doubt := ceil(extract(epoch FROM clock_timestamp() - t0) * 500);
			n := round((answer[1]::numeric - extract(epoch FROM t0)) * 1000) - doubt;
			detail := format('%s ms ahead of this node, to within %s ms', n, doubt);
			ok := abs(n) - doubt < 500;
			fix := CASE WHEN NOT ok THEN 'synchronise the clocks of both servers (NTP)' END;
		EXCEPTION WHEN others THEN
			ok := false;
			detail := SQLERRM;
			fix := 'make the node reachable from here';
		END;
		RETURN NEXT;

		requirement := 'rights on node ' || peer.node_name;
		SELECT r.ok, r.detail, r.fix INTO ok, detail, fix FROM replication_plugin.rights_by(peer.dsn) r;
		RETURN NEXT;

		-- functions without a schema would be others there
		requirement := 'search_path as on node ' || peer.node_name;
		BEGIN
			SELECT string_agg(format('%s: here %s, there %s', h.owner, h.search_path, q.r[2]), '; ' ORDER BY h.owner) INTO detail
				FROM replication_plugin.remote_query(peer.dsn, 'SELECT owner, search_path FROM replication_plugin.code_paths()') q(r)
				JOIN replication_plugin.code_paths() h ON h.owner = q.r[1] AND h.search_path <> q.r[2];
			ok := detail IS NULL;
			detail := coalesce(detail, 'the same for all owners of tables with functions');
			fix := CASE WHEN NOT ok THEN 'give database or role the same search_path on both: ALTER DATABASE ... SET search_path or ALTER ROLE ... SET search_path; or name the schema in the functions' END;
			RETURN NEXT;
		EXCEPTION WHEN others THEN
			NULL; -- an older version, or not reachable, which has been said
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION preflight() IS 'one row per requirement of replication: is it met, and if not, the exact fix';

-- Raises an error if an argument is null: a command that then did nothing would go unnoticed.
CREATE FUNCTION require_arguments(command text, VARIADIC arguments text[]) RETURNS void LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
	IF array_position(arguments, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'arguments of % must not be null', command USING ERRCODE = '22004';
	END IF;
END
$$;
COMMENT ON FUNCTION require_arguments(text, text[]) IS 'an error if an argument is null';

-- Raises the first unmet requirement that replication cannot do without.
CREATE FUNCTION require_preflight() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	p record;
BEGIN
	PERFORM replication_plugin.instance_token();
	FOR p IN SELECT * FROM replication_plugin.preflight() LOOP
		IF NOT p.ok AND p.requirement IN ('shared_preload_libraries', 'wal_level', 'track_commit_timestamp',
			'output_plugin_libraries', 'replication slots', 'replication origins', 'walsenders', 'worker processes', 'rights') THEN
			RAISE EXCEPTION 'this server is not ready for replication: %: %', p.requirement, p.detail
				USING ERRCODE = '55000', HINT = p.fix;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION require_preflight() IS 'an error that names the first requirement that is not met';

-- Raises an error if this server has no places for the origins of the members that a joining node finds, and for rows that it copies.
CREATE FUNCTION require_origin_places(via text, copies boolean) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	needed integer;
	p record;
BEGIN
	SELECT q[1]::integer + copies::integer INTO needed
		FROM replication_plugin.remote_query(via, 'SELECT count(*) FROM replication_plugin.members() m WHERE m.state <> ''removed''') q;
	SELECT * INTO p FROM replication_plugin.origin_places();
	IF p.places - p.used < needed THEN
		RAISE EXCEPTION 'this server is not ready for replication: replication origins: % free of % (%), and this group needs %', p.places - p.used, p.places, p.setting, needed
			USING ERRCODE = '55000', HINT = format('ALTER SYSTEM SET %s = 20; restart', p.setting);
	END IF;
END
$$;
COMMENT ON FUNCTION require_origin_places(text, boolean) IS 'an error if this server has too few places for the replication origins of a group';
