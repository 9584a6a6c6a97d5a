-- The commands that people call.

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
	ok := detail = 'logical';
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

	requirement := 'replication origins';
	free := current_setting('max_replication_slots')::integer - (SELECT count(*) FROM pg_replication_origin_status);
	detail := free || ' free of ' || current_setting('max_replication_slots') || ' (max_replication_slots)';
	ok := free >= n;
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET max_replication_slots = 20; restart' END;
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

-- Raises an error if this database is in a group already, or the name cannot be one.
CREATE FUNCTION require_no_group(node_name text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF FOUND THEN
		RAISE EXCEPTION 'this database is already node "%" of group "%" (%)', l.node_name, l.group_name, l.state
			USING ERRCODE = '55000', HINT = 'SELECT replication_plugin.leave_group() takes it out.';
	END IF;
	IF node_name !~ '^[^[:cntrl:]]{1,63}$' THEN
		RAISE EXCEPTION 'a node name has 1 to 63 characters, none of them a control character' USING ERRCODE = '22023';
	END IF;
END
$$;
COMMENT ON FUNCTION require_no_group(text) IS 'an error if this database is in a group already, or the name cannot be one';

CREATE FUNCTION create_group(group_name text, node_name text, dsn text) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.hide_secrets(true);
	PERFORM replication_plugin.require_arguments('create_group()', group_name, node_name, dsn);
	PERFORM replication_plugin.require_no_group(node_name);
	PERFORM replication_plugin.require_preflight();
	IF group_name !~ '^[^[:cntrl:]]{1,63}$' THEN
		RAISE EXCEPTION 'a group name has 1 to 63 characters, none of them a control character' USING ERRCODE = '22023';
	END IF;
	PERFORM replication_plugin.require_no_foreign_partitions();
	PERFORM replication_plugin.check_own_dsn(dsn);
	PERFORM replication_plugin.require_rights(dsn, false);
	INSERT INTO replication_plugin.local_node (since_xid, group_id, group_name, node_id, node_name, dsn, state)
		VALUES (pg_current_xact_id()::text::bigint, gen_random_uuid(), group_name, 1, node_name, dsn, 'ready');
	INSERT INTO replication_plugin.member (node_id, node_name, dsn) VALUES (1, node_name, dsn);
	INSERT INTO replication_plugin.member_ready (node_id) VALUES (1);
	INSERT INTO replication_plugin.stable_point (only_one) VALUES (true);
	PERFORM replication_plugin.capture_install_all();
	PERFORM replication_plugin.preload_in_sessions(true);
	PERFORM replication_plugin.request_manager(true);
END
$$;
COMMENT ON FUNCTION create_group(text, text, text) IS
	'makes this database the first node of a new group; dsn is how other nodes reach it';

-- Raises an error if there is something in this database that the group's contents would meet: objects,
-- where the schema is to be copied; rows, where only they are.
CREATE FUNCTION require_empty_database(copy_schema boolean, copy_data boolean) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	found text;
	t record;
	has_rows boolean;
BEGIN
	IF copy_schema THEN
		SELECT min(d) INTO found FROM (
			SELECT pg_describe_object('pg_class'::regclass, c.oid, 0), c.relnamespace, 'pg_class'::regclass, c.oid
				FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND c.relpersistence <> 't'
			UNION ALL SELECT pg_describe_object('pg_proc'::regclass, p.oid, 0), p.pronamespace, 'pg_proc'::regclass, p.oid
				FROM pg_proc p
			UNION ALL SELECT pg_describe_object('pg_type'::regclass, y.oid, 0), y.typnamespace, 'pg_type'::regclass, y.oid
				FROM pg_type y WHERE y.typrelid = 0 AND y.typtype IN ('d', 'e', 'r')
			UNION ALL SELECT pg_describe_object('pg_collation'::regclass, l.oid, 0), l.collnamespace, 'pg_collation'::regclass, l.oid
				FROM pg_collation l
			UNION ALL SELECT pg_describe_object('pg_operator'::regclass, p.oid, 0), p.oprnamespace, 'pg_operator'::regclass, p.oid
				FROM pg_operator p
			UNION ALL SELECT pg_describe_object('pg_ts_config'::regclass, g.oid, 0), g.cfgnamespace, 'pg_ts_config'::regclass, g.oid
				FROM pg_ts_config g
			UNION ALL SELECT pg_describe_object('pg_ts_dict'::regclass, g.oid, 0), g.dictnamespace, 'pg_ts_dict'::regclass, g.oid
				FROM pg_ts_dict g) o(d, space, class, id)
		WHERE id >= 16384
			AND space NOT IN (SELECT n.oid FROM pg_namespace n
				WHERE n.nspname IN ('replication_plugin', 'information_schema') OR n.nspname ~ '^pg_')
			AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = class AND e.objid = id AND e.deptype = 'e');
	ELSIF copy_data THEN
		FOR t IN SELECT x."table" AS name FROM replication_plugin.tables x WHERE x.replicated LOOP
			SELECT * INTO has_rows FROM replication_plugin.rows_of_query(format('SELECT EXISTS (SELECT FROM %s)', t.name)) AS q(found boolean);
			IF has_rows THEN
				found := 'rows in table ' || t.name;
				EXIT;
			END IF;
		END LOOP;
	END IF;
	IF found IS NOT NULL THEN
		RAISE EXCEPTION 'this database has contents of its own: %', found USING ERRCODE = '55000',
			HINT = CASE WHEN copy_schema
				THEN 'Join with an empty database. Or, if the tables here are those of the group already, say copy_schema => false; or allow_existing => true to keep what is here beside what comes.'
				ELSE 'Empty the tables. Or say allow_existing => true: the rows in tables of the group are then replaced; or copy_data => false, if they are the same rows already.' END;
	END IF;
END
$$;
COMMENT ON FUNCTION require_empty_database(boolean, boolean) IS 'an error if this database has contents that the group''s would meet';

-- Asks the member behind a dsn who it is, for a node that wants to join.
CREATE FUNCTION ask_source(via text, OUT group_id uuid, OUT group_name text, OUT node_id integer, OUT node_name text,
	OUT version integer)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	answer text[];
BEGIN
	BEGIN
		SELECT q INTO answer FROM replication_plugin.remote_query(via,
			'SELECT group_id, group_name, node_id, node_name, state, encoding, server_version_num FROM replication_plugin.identity()') q;
	EXCEPTION
		WHEN undefined_function OR invalid_schema_name THEN
			RAISE EXCEPTION 'the database behind via does not have the extension replication_plugin' USING ERRCODE = '55000',
				HINT = 'via is the dsn of any ready member of the group.';
		WHEN sqlclient_unable_to_establish_sqlconnection THEN
			RAISE EXCEPTION 'the member behind via cannot be reached: %', SQLERRM USING ERRCODE = '08001',
				HINT = 'via is the dsn of any ready member of the group, as seen from this server.';
	END;
	group_id := answer[1];
	group_name := answer[2];
	node_id := answer[3];
	node_name := answer[4];
	version := answer[7];
	IF group_id IS NULL THEN
		RAISE EXCEPTION 'the database behind via is in no group' USING ERRCODE = '55000',
			HINT = 'via is the dsn of any ready member of the group, not of this database. A new group is made with create_group().';
	END IF;
	IF answer[5] <> 'ready' THEN
		RAISE EXCEPTION 'node "%" is not ready: %', node_name, answer[5] USING ERRCODE = '55000',
			HINT = 'Join through a ready member.';
	END IF;
	IF answer[6] <> getdatabaseencoding() THEN
		RAISE EXCEPTION 'node "%" has encoding %, this database has %', node_name, answer[6], getdatabaseencoding()
			USING ERRCODE = '0A000', HINT = 'Create this database with the encoding of the group.';
	END IF;
	IF version / 10000 > current_setting('server_version_num')::integer / 10000 THEN
		RAISE EXCEPTION 'node "%" runs a newer PostgreSQL (%)', node_name, version USING ERRCODE = '0A000',
			HINT = 'Upgrade this server first.';
	END IF;
END
$$;
COMMENT ON FUNCTION ask_source(text) IS 'asks the member behind a dsn who it is';

-- Has all members promise the new node its name and a number, which is returned. Another node may join at
-- the same time: then one of them finds the number taken, and takes the next.
CREATE FUNCTION reserve_everywhere(via text, group_id uuid, node_name text, dsn text) RETURNS integer
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	-- in the order of their numbers: so of two that join at once, one is first everywhere
	list constant text := 'SELECT node_name, dsn, state FROM replication_plugin.members() WHERE state <> ''removed''';
	member record;
	number integer := 0;
	last integer;
BEGIN
	FOR attempt IN 1..5 LOOP
		BEGIN
			FOR member IN SELECT q[1] AS name, q[2] AS dsn FROM replication_plugin.remote_query(via, list) q LOOP
				SELECT q[1]::integer INTO last FROM replication_plugin.remote_query(member.dsn,
					'SELECT replication_plugin.last_node_id()') q;
				number := greatest(number, last);
			END LOOP;
			number := number + 1;
			FOR member IN SELECT q[1] AS name, q[2] AS dsn FROM replication_plugin.remote_query(via, list) q WHERE q[3] = 'ready' LOOP
				PERFORM replication_plugin.remote_query(member.dsn, format('SELECT replication_plugin.reserve_node(%L, %s, %L, %L)',
					group_id, number, node_name, dsn), replication_plugin.hiding());
			END LOOP;
			RETURN number;
		EXCEPTION
			WHEN sqlclient_unable_to_establish_sqlconnection THEN
				RAISE EXCEPTION 'member "%" cannot be reached: %', member.name, SQLERRM USING ERRCODE = '08001',
					HINT = 'A joining node needs all members. Start it, or take it out with remove_node().';
			WHEN lock_not_available THEN
				CONTINUE; -- that is what reserve_node() says of a number
		END;
	END LOOP;
	RAISE EXCEPTION 'too many nodes are joining at the same time' USING ERRCODE = '55P03', HINT = 'Try again.';
END
$$;
COMMENT ON FUNCTION reserve_everywhere(text, uuid, text, text) IS 'has all members promise a new node its name and a number';

-- Where the WAL of this server, a promoted physical copy, left that of the server it was copied from.
CREATE FUNCTION copied_until(OUT timeline integer, OUT lsn pg_lsn) LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	history text := pg_read_file('pg_wal/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '.history', 0, 1000000, true);
	line text[];
BEGIN
	IF history IS NULL THEN
		RAISE EXCEPTION 'this copy of a server has no timeline of its own' USING ERRCODE = '55000',
			HINT = 'Start the copy as a standby (pg_basebackup --write-recovery-conf does it), then SELECT pg_promote().';
	END IF;
	FOR line IN SELECT regexp_matches(l, '^([0-9]+)[[:space:]]+([0-9A-F]+/[0-9A-F]+)') FROM regexp_split_to_table(history, E'\n') l LOOP
		timeline := line[1];
		lsn := line[2];
	END LOOP;
END
$$;
COMMENT ON FUNCTION copied_until() IS 'where the WAL of this physical copy left that of the server it was copied from';

-- Asked by a physical copy of this server that wants to be a node: the number that prepare_base_backup() has promised it, and whether what is kept for it
-- goes on from where the copy ends.
CREATE FUNCTION kept_for_copy(copy_name text, copy_dsn text, copied_until pg_lsn, OUT node_id integer, OUT has_all boolean, OUT timeline integer)
RETURNS SETOF record LANGUAGE sql VOLATILE
AS $$
	SELECT r.node_id, s.confirmed_flush_lsn <= $3, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer
	FROM replication_plugin.node_reservation r JOIN pg_replication_slots s ON s.slot_name = replication_plugin.slot_name(r.node_id)
	WHERE r.for_backup AND r.node_name = $1 AND r.dsn = $2 AND s.wal_status <> 'lost'
$$;
COMMENT ON FUNCTION kept_for_copy(text, text, pg_lsn) IS 'what prepare_base_backup() has promised a physical copy, and keeps for it';

-- Makes a physical copy of a member's server a node of its own, that joins through that member. Everything that the
-- member had up to the copy's end is here, with the progress of all origins.
CREATE FUNCTION adopt_copy(node_name text, dsn text, via text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
	source record;
	copied record;
	answer text[];
	number integer;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	SELECT * INTO source FROM replication_plugin.ask_source(via);
	IF source.group_id <> l.group_id OR source.node_id <> l.node_id THEN
		RAISE EXCEPTION 'this is a copy of node "%", not of the node behind via ("%")', l.node_name, source.node_name USING ERRCODE = '55000',
			HINT = 'A physical copy joins through the member that it was copied from.';
	END IF;
	SELECT * INTO copied FROM replication_plugin.copied_until();
	SELECT q INTO answer FROM replication_plugin.remote_query(via, format('SELECT node_id, has_all, timeline FROM replication_plugin.kept_for_copy(%L, %L, %L)',
		node_name, dsn, copied.lsn), replication_plugin.hiding()) q;
	IF answer IS NULL THEN
		RAISE EXCEPTION 'node "%" keeps nothing for a copy named "%" with this dsn', source.node_name, node_name USING ERRCODE = '55000',
			HINT = 'Before the backup: SELECT replication_plugin.prepare_base_backup(name, dsn) on that node, with what join_group() is given here.';
	END IF;
	IF answer[2] <> 't' OR answer[3]::integer <> copied.timeline THEN
		RAISE EXCEPTION 'this copy is older than what node "%" keeps for it', source.node_name USING ERRCODE = '55000',
			HINT = 'First SELECT replication_plugin.prepare_base_backup(), then the backup.';
	END IF;
	number := answer[1];
	PERFORM replication_plugin.suspend_workers();
	IF NOT replication_plugin.wait_for_workers_to_stop('60 seconds') THEN
		RAISE EXCEPTION 'workers of the group do not stop' USING ERRCODE = '55006', HINT = 'Try again.';
	END IF;
	-- a copy by files may have brought them along; they stand for the source, not for this node
	PERFORM replication_plugin.drop_slots();
	DELETE FROM replication_plugin.local_node;
	DELETE FROM replication_plugin.link;
	DELETE FROM replication_plugin.peer_run;
	DELETE FROM replication_plugin.stable_point;
	DELETE FROM replication_plugin.slot_base;
	DELETE FROM replication_plugin.node_reservation;
	DELETE FROM replication_plugin.conflict_log;
	DELETE FROM replication_plugin.conflict_count;
	-- what was local there is the source's here, up to the end of the copy; the origin is made in a transaction of its own, as
	-- its number is another one's if that is rolled back
	PERFORM replication_plugin.run_apart(format('SELECT replication_plugin.create_origin(%s)', source.node_id));
	PERFORM pg_replication_origin_advance(replication_plugin.origin_name(source.node_id::text), copied.lsn);
	INSERT INTO replication_plugin.local_node (since_xid, group_id, group_name, node_id, node_name, dsn, state, source_id, source_dsn,
			copy_schema, copy_data, progress, copy_of, copy_since)
		VALUES (pg_current_xact_id()::text::bigint, source.group_id, source.group_name, number, node_name, dsn, 'joining: adopt', source.node_id, via,
			false, false, 'waiting for the join worker', source.node_id, l.since_xid);
	PERFORM replication_plugin.preload_in_sessions(true);
	PERFORM replication_plugin.request_manager(true);
END
$$;
COMMENT ON FUNCTION adopt_copy(text, text, text) IS 'makes a physical copy of a member''s server a node of its own';

CREATE FUNCTION join_group(node_name text, dsn text, via text, copy_schema boolean DEFAULT true,
	copy_data boolean DEFAULT true, allow_existing boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	source record;
	number integer;
	copy_of_member boolean := EXISTS (SELECT FROM replication_plugin.local_node l WHERE l.last_error LIKE 'this server is a copy%');
BEGIN
	PERFORM replication_plugin.hide_secrets(true);
	PERFORM replication_plugin.require_arguments('join_group()', node_name, dsn, via, copy_schema::text, copy_data::text,
		allow_existing::text);
	IF copy_of_member AND NOT copy_data AND NOT copy_schema THEN
		PERFORM replication_plugin.require_preflight();
		PERFORM replication_plugin.check_own_dsn(dsn);
		PERFORM replication_plugin.adopt_copy(node_name, dsn, via);
		RETURN;
	END IF;
	PERFORM replication_plugin.require_no_group(node_name);
	PERFORM replication_plugin.require_preflight();
	PERFORM replication_plugin.check_own_dsn(dsn);
	PERFORM replication_plugin.require_rights(dsn, false);
	SELECT * INTO source FROM replication_plugin.ask_source(via);
	PERFORM replication_plugin.require_rights(via, copy_schema);
	PERFORM replication_plugin.require_no_foreign_partitions();
	PERFORM replication_plugin.remote_query(via, 'SELECT replication_plugin.require_no_foreign_partitions()');
	IF copy_schema THEN
		PERFORM replication_plugin.require_join_programs(source.version);
	END IF;
	IF NOT allow_existing THEN
		PERFORM replication_plugin.require_empty_database(copy_schema, copy_data);
	END IF;
	number := replication_plugin.reserve_everywhere(via, source.group_id, node_name, dsn);
	INSERT INTO replication_plugin.local_node (since_xid, group_id, group_name, node_id, node_name, dsn, state, source_id, source_dsn,
			copy_schema, copy_data, progress)
		VALUES (pg_current_xact_id()::text::bigint, source.group_id, source.group_name, number, node_name, dsn, 'joining: slot', source.node_id, via,
			copy_schema, copy_data, 'waiting for the join worker');
	PERFORM replication_plugin.preload_in_sessions(true);
	PERFORM replication_plugin.request_manager(true);
END
$$;
COMMENT ON FUNCTION join_group(text, text, text, boolean, boolean, boolean) IS
	'makes this database a node of the group that the member behind via is in; returns at once, see wait_until_ready()';

CREATE FUNCTION prepare_base_backup(node_name text, dsn text) RETURNS integer LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
	number integer;
BEGIN
	PERFORM replication_plugin.hide_secrets(true);
	PERFORM replication_plugin.require_arguments('prepare_base_backup()', node_name, dsn);
	PERFORM replication_plugin.require_ready();
	PERFORM replication_plugin.dsn_without_password(dsn); -- is it one?
	SELECT * INTO l FROM replication_plugin.local_node;
	SELECT r.node_id INTO number FROM replication_plugin.node_reservation r
		WHERE r.for_backup AND r.node_name = prepare_base_backup.node_name AND r.dsn = prepare_base_backup.dsn;
	IF number IS NOT NULL THEN
		RETURN number;
	END IF;
	IF NOT EXISTS (SELECT FROM replication_plugin.stable_point p WHERE p.slot_made) THEN
		RAISE EXCEPTION 'node "%" has no group slot yet', l.node_name USING ERRCODE = '55000', HINT = 'Try again.';
	END IF;
	-- the promise here is made by our own reserve_node(), in another session: it is there by now
	number := replication_plugin.reserve_everywhere(l.dsn, l.group_id, node_name, dsn);
	PERFORM pg_copy_logical_replication_slot(replication_plugin.group_slot_name(), replication_plugin.slot_name(number));
	UPDATE replication_plugin.node_reservation r SET for_backup = true WHERE r.node_id = number;
	RETURN number;
END
$$;
COMMENT ON FUNCTION prepare_base_backup(text, text) IS
	'before a physical backup of this server that is to become a node of that name and dsn: promises it a number, which is returned, and keeps WAL for it';

CREATE FUNCTION cancel_base_backup(node_name text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	number integer;
BEGIN
	PERFORM replication_plugin.require_arguments('cancel_base_backup()', node_name);
	DELETE FROM replication_plugin.node_reservation r WHERE r.for_backup AND r.node_name = cancel_base_backup.node_name
		AND NOT EXISTS (SELECT FROM replication_plugin.member m WHERE m.node_id = r.node_id) RETURNING r.node_id INTO number;
	IF number IS NULL THEN
		RAISE EXCEPTION 'nothing is kept for a copy named "%"', node_name USING ERRCODE = '42704';
	END IF;
	PERFORM pg_drop_replication_slot(s.slot_name) FROM pg_replication_slots s WHERE s.slot_name = replication_plugin.slot_name(number);
END
$$;
COMMENT ON FUNCTION cancel_base_backup(text) IS 'takes prepare_base_backup() back';

-- Called by a node that gives its join up: the group has admitted it perhaps.
CREATE FUNCTION forget_joining(joining integer) RETURNS void LANGUAGE sql VOLATILE
AS $$
	INSERT INTO replication_plugin.removal (node_id, removed_by, reason)
		SELECT n.node_id, replication_plugin.my_id(), 'left' FROM replication_plugin.node n WHERE n.node_id = $1 AND n.state = 'joining'
		ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION forget_joining(integer) IS 'takes a node out that does not join after all';

-- A ready member that answers, for a node that must join anew.
CREATE FUNCTION find_source() RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	m record;
	answer text[];
BEGIN
	FOR m IN SELECT n.dsn FROM replication_plugin.node n WHERE n.state = 'ready' AND n.node_id <> replication_plugin.my_id() ORDER BY n.node_id LOOP
		BEGIN
			SELECT q INTO answer FROM replication_plugin.remote_query(m.dsn, 'SELECT group_id, state FROM replication_plugin.identity()') q;
			IF answer[1]::uuid = (SELECT l.group_id FROM replication_plugin.local_node l) AND answer[2] = 'ready' THEN
				RETURN m.dsn;
			END IF;
		EXCEPTION WHEN others THEN
			NULL; -- the next, perhaps
		END;
	END LOOP;
	RAISE EXCEPTION 'no ready member of the group answers' USING ERRCODE = '08001',
		HINT = 'Give the dsn of one: SELECT replication_plugin.rejoin(via => ...).';
END
$$;
COMMENT ON FUNCTION find_source() IS 'dsn of a ready member that answers';

CREATE FUNCTION rejoin(via text DEFAULT NULL) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
	source record;
	member record;
	source_dsn text;
	number integer;
BEGIN
	PERFORM replication_plugin.require_no_transaction('rejoin()');
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND OR l.state NOT IN ('removed', 'needs_rejoin', 'joining: catching up', 'joining: opening links') THEN
		RAISE EXCEPTION 'this node need not join anew: %', coalesce(l.state, 'it is in no group') USING ERRCODE = '55000';
	END IF;
	PERFORM replication_plugin.require_preflight();
	PERFORM replication_plugin.check_own_dsn(l.dsn);
	IF EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database()) THEN
		RAISE EXCEPTION 'there are prepared transactions in this database' USING ERRCODE = '55000',
			HINT = 'End those of pg_prepared_xacts first.';
	END IF;
	source_dsn := coalesce(via, replication_plugin.find_source());
	SELECT * INTO source FROM replication_plugin.ask_source(source_dsn);
	IF source.group_id <> l.group_id THEN
		RAISE EXCEPTION 'node "%" is in another group: "%"', source.node_name, source.group_name USING ERRCODE = '55000';
	END IF;
	-- each member has it from us: the name is free then, everywhere
	FOR member IN SELECT q[1] AS name, q[2] AS dsn FROM replication_plugin.remote_query(source_dsn,
		$q$ SELECT node_name, dsn FROM replication_plugin.members() WHERE state = 'ready' $q$) q
	LOOP
		BEGIN
			PERFORM replication_plugin.remote_query(member.dsn, format('SELECT replication_plugin.expel(%L, %s)', l.group_id, l.node_id))
				WHERE member.name <> l.node_name;
		EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
			RAISE EXCEPTION 'member "%" cannot be reached: %', member.name, SQLERRM USING ERRCODE = '08001',
				HINT = 'A joining node needs all members. Start it, or take it out with remove_node().';
		END;
	END LOOP;
	number := replication_plugin.reserve_everywhere(source_dsn, l.group_id, l.node_name, l.dsn);
	PERFORM replication_plugin.teardown(l.node_id);
	INSERT INTO replication_plugin.local_node (since_xid, group_id, group_name, node_id, node_name, dsn, state, source_id, source_dsn,
			copy_schema, copy_data, progress)
		VALUES (pg_current_xact_id()::text::bigint, l.group_id, l.group_name, number, l.node_name, l.dsn, 'joining: slot', source.node_id, source_dsn,
			false, true, 'waiting for the join worker');
	PERFORM replication_plugin.preload_in_sessions(true);
	PERFORM replication_plugin.request_manager(true);
END
$$;
COMMENT ON FUNCTION rejoin(text) IS
	'on a node that is out of its group, or still catches up: takes it in again under its name, with the rows of the others in place of its own';

CREATE FUNCTION wait_until_ready(timeout interval DEFAULT '10 minutes') RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT
AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + timeout;
	l replication_plugin.local_node;
	said text := '';
	complained text := '';
BEGIN
	LOOP
		SELECT * INTO l FROM replication_plugin.local_node;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'this database is in no group' USING ERRCODE = '55000',
				HINT = 'Call create_group() or join_group() first.';
		END IF;
		IF l.state = 'ready' AND l.announced THEN
			RETURN true;
		END IF;
		IF l.state || coalesce(': ' || l.progress, '') <> said THEN
			said := l.state || coalesce(': ' || l.progress, '');
			RAISE NOTICE '%', said;
		END IF;
		IF coalesce(l.last_error, '') <> complained THEN
			complained := coalesce(l.last_error, '');
			IF complained <> '' THEN
				RAISE NOTICE 'error, tried again: %', complained;
			END IF;
		END IF;
		IF clock_timestamp() >= deadline OR l.state IN ('removed', 'needs_rejoin', 'leaving', 'left') THEN
			RETURN false;
		END IF;
		PERFORM pg_sleep(0.1);
	END LOOP;
END
$$;
COMMENT ON FUNCTION wait_until_ready(interval) IS
	'waits until this node is a full member; true if it is, false after the timeout; progress comes as notices';

-- Raises an error unless this node is a ready member.
CREATE FUNCTION require_ready() RETURNS void LANGUAGE plpgsql STABLE
AS $$
DECLARE
	l replication_plugin.local_node;
	lacks record;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'this database is in no group' USING ERRCODE = '55000',
			HINT = 'Call create_group() or join_group() first.';
	END IF;
	IF l.state <> 'ready' OR NOT l.announced THEN
		RAISE EXCEPTION 'this node is not ready: %', CASE l.state WHEN 'ready' THEN 'joining: announced' ELSE l.state END USING ERRCODE = '55000',
			HINT = CASE WHEN l.state IN ('removed', 'needs_rejoin')
				THEN 'SELECT replication_plugin.rejoin() makes it a member again, with the rows of the others; forget_group() makes it a database of its own.'
				WHEN l.state IN ('leaving', 'left')
				THEN 'It is leaving its group. If that was interrupted: SELECT replication_plugin.leave_group() again, or cancel_leave().'
				ELSE 'SELECT replication_plugin.wait_until_ready() waits for it.' END;
	END IF;
	SELECT * INTO lacks FROM replication_plugin.unmet_requirement();
	IF lacks.problem IS NOT NULL THEN
		RAISE EXCEPTION 'node "%" is not ready for writes: %', l.node_name, lacks.problem USING ERRCODE = '55000', HINT = lacks.fix;
	END IF;
END
$$;
COMMENT ON FUNCTION require_ready() IS 'an error unless this node is a ready member';

-- Number of another member by name.
CREATE FUNCTION other_node(name text) RETURNS integer LANGUAGE plpgsql STABLE
AS $$
DECLARE
	n replication_plugin.node;
BEGIN
	PERFORM replication_plugin.require_ready();
	SELECT * INTO n FROM replication_plugin.node m WHERE m.node_name = name ORDER BY m.state = 'removed', m.node_id DESC LIMIT 1;
	IF NOT FOUND OR n.state = 'removed' THEN
		RAISE EXCEPTION 'there is no node "%" in this group', name USING ERRCODE = '42704',
			HINT = 'The members are in replication_plugin.nodes.';
	END IF;
	IF n.node_id = replication_plugin.my_id() THEN
		RAISE EXCEPTION 'node "%" is this node', name USING ERRCODE = '22023',
			HINT = 'Name another node. A node itself leaves with leave_group().';
	END IF;
	RETURN n.node_id;
END
$$;
COMMENT ON FUNCTION other_node(text) IS 'number of another member by name';

-- Waits until the transactions of clients that are open now have ended, prepared ones included: any of them may have written, or be
-- about to. Returns one that goes on after the timeout.
CREATE FUNCTION wait_for_clients(timeout interval) RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + timeout;
	since timestamptz := clock_timestamp();
	who text;
BEGIN
	LOOP
		PERFORM pg_stat_clear_snapshot();
		SELECT 'process ' || a.pid INTO who FROM pg_stat_activity a WHERE a.datname = current_database() AND a.xact_start <= since
			AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
			AND a.application_name NOT LIKE 'replication_plugin %' LIMIT 1;
		IF NOT FOUND THEN
			SELECT format('prepared transaction %L', x.gid) INTO who FROM pg_prepared_xacts x WHERE x.database = current_database() LIMIT 1;
		END IF;
		EXIT WHEN NOT FOUND OR clock_timestamp() >= deadline;
		PERFORM pg_sleep(0.02);
	END LOOP;
	RETURN who;
END
$$;
COMMENT ON FUNCTION wait_for_clients(interval) IS 'waits until the transactions of clients that are open now have ended';

-- Being removed in order: this node takes no more local writes, and returns when all other members have what it has written.
CREATE FUNCTION prepare_removal(timeout interval DEFAULT '60 seconds') RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	me text := (SELECT l.node_name FROM replication_plugin.local_node l);
	client text;
	problem text;
BEGIN
	PERFORM replication_plugin.loopback($q$ UPDATE replication_plugin.local_node SET state = 'leaving' WHERE state = 'ready' $q$);
	client := replication_plugin.wait_for_clients(timeout);
	IF client IS NOT NULL THEN
		problem := format('%s on node "%s" is open for longer than %s', client, me, timeout);
	ELSIF NOT replication_plugin.wait_for_apply(timeout) THEN
		problem := format('not all members have applied the writes of node "%s" within %s', me, timeout);
	END IF;
	IF problem IS NULL AND EXISTS (SELECT FROM replication_plugin.local_node l WHERE l.state = 'ready') THEN
		-- what was written since is not waited for
		RAISE EXCEPTION 'node "%" has been told meanwhile to take writes again', me USING ERRCODE = '55000',
			HINT = 'By cancel_leave(), or by the failure of another call that takes it out. Try again.';
	END IF;
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION '%', problem USING ERRCODE = '55000',
			HINT = 'See replication_plugin.slots there, and links on the others. Remove members that are gone with remove_node(..., lost => true), end the transaction, or give a longer timeout.';
	END IF;
EXCEPTION WHEN query_canceled OR others THEN
	PERFORM replication_plugin.loopback('SELECT replication_plugin.cancel_leave()');
	RAISE;
END
$$;
COMMENT ON FUNCTION prepare_removal(interval) IS 'takes no more local writes, and waits until all other members have what was written here';

-- A removal or leave that was interrupted: this node takes writes again. Does nothing if the group has it down as removed already.
CREATE FUNCTION cancel_leave() RETURNS void LANGUAGE sql VOLATILE
AS $$
	UPDATE replication_plugin.local_node l SET state = 'ready' WHERE state = 'leaving'
		AND NOT EXISTS (SELECT FROM replication_plugin.removal r WHERE r.node_id = l.node_id)
$$;
COMMENT ON FUNCTION cancel_leave() IS
	'after a remove_node() or leave_group() of this node that was interrupted (state leaving): it takes writes again';

CREATE FUNCTION remove_node(node_name text, lost boolean DEFAULT false) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	id integer;
	target replication_plugin.node;
BEGIN
	PERFORM replication_plugin.require_arguments('remove_node()', node_name, lost::text);
	id := replication_plugin.other_node(node_name);
	PERFORM replication_plugin.require_no_transaction('remove_node()'); -- it would hold up all links
	SELECT * INTO target FROM replication_plugin.node n WHERE n.node_id = id;
	IF NOT lost AND target.state = 'ready' THEN
		BEGIN
			PERFORM replication_plugin.remote_query(target.dsn, 'SELECT replication_plugin.prepare_removal()');
		EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
			RAISE EXCEPTION 'node "%" does not answer: %', node_name, SQLERRM USING ERRCODE = '08001',
				HINT = format('If it is lost: SELECT replication_plugin.remove_node(%L, lost => true). What it has written and given to nobody is then gone.', node_name);
		END;
	END IF;
	INSERT INTO replication_plugin.removal (node_id, removed_by, reason)
		SELECT id, replication_plugin.my_id(), CASE WHEN lost THEN 'lost' ELSE 'removed' END
		ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION remove_node(text, boolean) IS
	'takes a node out of the group, on all members; its number is never used again; lost: it is dead, and the others make do with what they have of it';

-- Called by a node that leaves: whether this one has it down as removed; waits for it.
CREATE FUNCTION wait_for_removal(leaving integer, timeout interval) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + timeout;
BEGIN
	LOOP
		IF EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = leaving AND n.state = 'removed') THEN
			RETURN true;
		ELSIF clock_timestamp() >= deadline THEN
			RETURN false;
		END IF;
		PERFORM pg_sleep(0.02);
	END LOOP;
END
$$;
COMMENT ON FUNCTION wait_for_removal(integer, interval) IS 'waits until this node has another one down as removed; false after the timeout';

-- Whether another member has this node down as removed; waits for it; null if it does not answer.
CREATE FUNCTION knows_removed(member_dsn text, timeout interval DEFAULT '0') RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	answer text[];
BEGIN
	SELECT q INTO answer FROM replication_plugin.remote_query(member_dsn,
		format('SELECT replication_plugin.wait_for_removal(%s, %L)', replication_plugin.my_id(), timeout)) q;
	RETURN coalesce(answer[1] = 't', false);
EXCEPTION WHEN others THEN
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION knows_removed(text, interval) IS 'whether a member has this node down as removed; null if it does not answer';

-- Has the members take this node out, once they have all that it has written.
CREATE FUNCTION say_goodbye(timeout interval) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + 2 * timeout;
	me text := (SELECT node_name FROM replication_plugin.local_node);
	member record;
	told boolean;
BEGIN
	PERFORM replication_plugin.prepare_removal(timeout);
	PERFORM replication_plugin.loopback(format($q$ INSERT INTO replication_plugin.removal (node_id, removed_by, reason)
		VALUES (%s, %1$s, 'left') ON CONFLICT DO NOTHING $q$, replication_plugin.my_id()));
	-- a member that has heard of it drops its link at once, without confirming: so ask
	FOR member IN SELECT n.node_name, n.dsn FROM replication_plugin.node n
		WHERE n.state = 'ready' AND n.node_id <> replication_plugin.my_id() ORDER BY n.node_id
	LOOP
		told := replication_plugin.knows_removed(member.dsn, greatest(deadline - clock_timestamp(), '0'));
		IF told IS NOT TRUE THEN
			RAISE WARNING 'node "%" does not know yet that this node has left', member.node_name
				USING HINT = format('SELECT replication_plugin.remove_node(%L) on a member tells the others.', me);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION say_goodbye(interval) IS 'leaving: has the members take this node out';

CREATE FUNCTION leave_group(timeout interval DEFAULT '60 seconds') RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
BEGIN
	PERFORM replication_plugin.require_arguments('leave_group()', timeout::text);
	PERFORM replication_plugin.require_no_transaction('leave_group()');
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'this database is in no group' USING ERRCODE = '55000';
	END IF;
	BEGIN
		-- a copy of a server must not speak for the original
		PERFORM replication_plugin.loopback('');
	EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
		RAISE EXCEPTION 'the dsn of this node does not lead here: %', SQLERRM USING ERRCODE = '55000',
			HINT = 'Make it work. Or call remove_node() on another member, then SELECT replication_plugin.forget_group() here.';
	END;
	IF l.state IN ('ready', 'leaving') -- leaving: an earlier call was interrupted
		AND EXISTS (SELECT FROM replication_plugin.node n WHERE n.state = 'ready' AND n.node_id <> l.node_id)
		AND NOT EXISTS (SELECT FROM replication_plugin.node n WHERE n.state = 'ready' AND n.node_id <> l.node_id
			AND replication_plugin.knows_removed(n.dsn)) THEN
		PERFORM replication_plugin.say_goodbye(timeout);
	END IF;
	-- other members are refused from now on, and no worker is started any more
	PERFORM replication_plugin.loopback(format('UPDATE replication_plugin.local_node SET state = ''left'' WHERE node_id = %s', l.node_id));
	PERFORM replication_plugin.teardown(l.node_id);
	IF l.state LIKE 'joining:%' THEN
		-- the group may have admitted it already
		BEGIN
			PERFORM replication_plugin.remote_query(l.source_dsn, format('SELECT replication_plugin.forget_joining(%s)', l.node_id));
		EXCEPTION WHEN others THEN
			RAISE WARNING 'the group could not be told that this node does not join: %', SQLERRM
				USING HINT = format('SELECT replication_plugin.remove_node(%L) on a member tells it.', l.node_name);
		END;
	END IF;
END
$$;
COMMENT ON FUNCTION leave_group(interval) IS
	'takes this node out of its group and ends all its replication; its rows stay; waits until its writes are applied elsewhere';

-- Whether others count on this node: they would wait for it, and lack what it has written. Not if it is out, alone, a copy of the
-- server that they know, or if they know it as removed.
CREATE FUNCTION is_counted_on() RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF l.state IN ('removed', 'needs_rejoin', 'left') OR NOT EXISTS (SELECT FROM replication_plugin.node n
		WHERE n.node_id <> l.node_id AND n.state <> 'removed') AND l.state NOT LIKE 'joining%' THEN
		RETURN false;
	END IF;
	BEGIN
		PERFORM replication_plugin.loopback('');
	EXCEPTION
		WHEN object_not_in_prerequisite_state THEN
			RETURN false; -- its dsn leads to the original
		WHEN sqlclient_unable_to_establish_sqlconnection THEN
			NULL;
	END;
	RETURN NOT EXISTS (SELECT FROM replication_plugin.node n WHERE n.state = 'ready' AND n.node_id <> l.node_id
		AND replication_plugin.knows_removed(n.dsn));
END
$$;
COMMENT ON FUNCTION is_counted_on() IS 'whether other members count on this node, as far as it can find out';

CREATE FUNCTION forget_group(force boolean DEFAULT false) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
BEGIN
	PERFORM replication_plugin.require_arguments('forget_group()', force::text);
	PERFORM replication_plugin.require_no_transaction('forget_group()');
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'this database is in no group' USING ERRCODE = '55000';
	END IF;
	IF NOT force AND replication_plugin.is_counted_on() THEN
		RAISE EXCEPTION 'other members of group "%" count on node "%"', l.group_name, l.node_name USING ERRCODE = '55000',
			DETAIL = 'They would wait for it, keep WAL for it, and lack what it has written and not yet given to them.',
			HINT = 'SELECT replication_plugin.leave_group() takes it out in order. If none of them can be reached: SELECT replication_plugin.forget_group(force => true), and replication_plugin.remove_node() with lost => true on those that come back.';
	END IF;
	PERFORM replication_plugin.teardown(l.node_id);
END
$$;
COMMENT ON FUNCTION forget_group(boolean) IS
	'on a copy of a server, or a node that was removed: ends its membership here without telling anybody; force: also where others count on it';

-- Numbers of ready members by their names, in that order.
CREATE FUNCTION ready_nodes(names text[]) RETURNS integer[] LANGUAGE plpgsql STABLE
AS $$
DECLARE
	name text;
	id integer;
	ids integer[] := '{}';
BEGIN
	FOREACH name IN ARRAY names LOOP
		SELECT n.node_id INTO id FROM replication_plugin.node n WHERE n.node_name = name AND n.state = 'ready';
		IF id IS NULL THEN
			RAISE EXCEPTION 'there is no ready node "%" in this group', name USING ERRCODE = '42704',
				HINT = 'The members are in replication_plugin.nodes.';
		END IF;
		IF id = ANY (ids) THEN
			RAISE EXCEPTION 'node "%" is named twice', name USING ERRCODE = '22023';
		END IF;
		ids := ids || id;
	END LOOP;
	RETURN ids;
END
$$;
COMMENT ON FUNCTION ready_nodes(text[]) IS 'numbers of ready members by their names';

-- Puts a topology in force, unless it leaves a member out.
CREATE FUNCTION store_topology(new_shape text, new_nodes integer[], new_links integer[]) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	members integer[];
	sources integer[];
	left_out text;
BEGIN
	LOCK TABLE replication_plugin.topology_setting IN SHARE ROW EXCLUSIVE MODE;
	SELECT coalesce(array_agg(n.node_id ORDER BY n.node_id), '{}'), coalesce(array_agg(coalesce(n.source, 0) ORDER BY n.node_id), '{}')
		INTO members, sources FROM replication_plugin.node n WHERE n.state = 'ready';
	SELECT string_agg(n.node_name, ', ' ORDER BY n.node_id) INTO left_out FROM replication_plugin.node n
		WHERE n.node_id = ANY (replication_plugin.topology_unreachable(new_shape, new_nodes, new_links, members, sources));
	IF left_out IS NOT NULL THEN
		RAISE EXCEPTION 'this topology does not connect all nodes: % cannot be reached, or cannot reach the others', left_out
			USING ERRCODE = '22023', HINT = 'There must be a path of links from each node to each other one.';
	END IF;
	INSERT INTO replication_plugin.topology_setting (serial, set_by, shape, nodes, links)
		SELECT coalesce(max(t.serial), 0) + 1, replication_plugin.my_id(), new_shape, new_nodes, new_links
		FROM replication_plugin.topology_setting t;
END
$$;
COMMENT ON FUNCTION store_topology(text, integer[], integer[]) IS 'puts a topology in force';

CREATE FUNCTION set_topology(shape text, nodes text[] DEFAULT NULL) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	ids integer[];
	present integer[] := '{}';
	missing text;
BEGIN
	PERFORM replication_plugin.require_arguments('set_topology()', shape);
	PERFORM replication_plugin.require_ready();
	IF shape NOT IN ('all_to_all', 'star', 'ring', 'custom') THEN
		RAISE EXCEPTION 'there is no topology "%"', shape USING ERRCODE = '22023',
			HINT = 'Shapes are all_to_all, star (the hub is named first), ring (each takes from the one before it) and custom.';
	END IF;
	IF shape = 'custom' THEN
		IF nodes IS NOT NULL THEN
			RAISE EXCEPTION 'topology "custom" takes no list of nodes' USING ERRCODE = '22023',
				HINT = 'It keeps the links that there are; add_link() and drop_link() change them.';
		END IF;
		LOCK TABLE replication_plugin.topology_setting IN SHARE ROW EXCLUSIVE MODE;
		PERFORM replication_plugin.store_topology(shape, '{}', replication_plugin.present_links());
		RETURN;
	END IF;
	SELECT coalesce(array_agg(n.node_id ORDER BY n.node_id), '{}') INTO ids FROM replication_plugin.node n WHERE n.state = 'ready';
	IF nodes IS NOT NULL THEN
		present := replication_plugin.ready_nodes(nodes);
		SELECT string_agg(n.node_name, ', ' ORDER BY n.node_id) INTO missing FROM replication_plugin.node n
			WHERE n.node_id = ANY (ids) AND n.node_id <> ALL (present);
		IF missing IS NOT NULL THEN
			RAISE EXCEPTION 'this topology leaves nodes out: %', missing USING ERRCODE = '22023',
				HINT = 'Name all ready nodes, or none.';
		END IF;
		ids := present;
	END IF;
	PERFORM replication_plugin.store_topology(shape, CASE WHEN shape = 'all_to_all' THEN '{}' ELSE ids END, '{}');
END
$$;
COMMENT ON FUNCTION set_topology(text, text[]) IS
	'shapes the group, on all members, also under load: all_to_all, star (hub first), ring (each takes from the one before it), custom (the links that there are)';

-- The links of the group by its topology, as a flat list: provider, subscriber, provider, ...
CREATE FUNCTION present_links() RETURNS integer[] LANGUAGE sql STABLE
AS $$
	SELECT coalesce(array_agg(x ORDER BY p.provider, p.subscriber, place), '{}')
	FROM replication_plugin.planned_links('{}') p, unnest(ARRAY[p.provider, p.subscriber]) WITH ORDINALITY u(x, place)
$$;
COMMENT ON FUNCTION present_links() IS 'the links of the group by its topology, as a flat list';

-- Numbers of the two ends of a link.
CREATE FUNCTION link_ends(command text, provider text, subscriber text) RETURNS integer[] LANGUAGE plpgsql STABLE
AS $$
BEGIN
	PERFORM replication_plugin.require_arguments(command, provider, subscriber);
	PERFORM replication_plugin.require_ready();
	IF provider = subscriber THEN
		RAISE EXCEPTION 'a node needs no link from itself' USING ERRCODE = '22023';
	END IF;
	RETURN replication_plugin.ready_nodes(ARRAY[provider, subscriber]);
END
$$;
COMMENT ON FUNCTION link_ends(text, text, text) IS 'numbers of the two ends of a link';

CREATE FUNCTION add_link(provider text, subscriber text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	ends integer[] := replication_plugin.link_ends('add_link()', provider, subscriber);
BEGIN
	LOCK TABLE replication_plugin.topology_setting IN SHARE ROW EXCLUSIVE MODE; -- the links that there are, with those of sessions beside this one
	IF EXISTS (SELECT FROM replication_plugin.planned_links('{}') p WHERE p.provider = ends[1] AND p.subscriber = ends[2]) THEN
		RAISE EXCEPTION 'there is a link from "%" to "%" already', provider, subscriber USING ERRCODE = '42710';
	END IF;
	PERFORM replication_plugin.store_topology('custom', '{}', replication_plugin.present_links() || ends);
END
$$;
COMMENT ON FUNCTION add_link(text, text) IS 'adds a link, on which the subscriber takes changes from the provider; the topology is then custom';

CREATE FUNCTION drop_link(provider text, subscriber text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	ends integer[] := replication_plugin.link_ends('drop_link()', provider, subscriber);
	rest integer[];
BEGIN
	LOCK TABLE replication_plugin.topology_setting IN SHARE ROW EXCLUSIVE MODE;
	IF NOT EXISTS (SELECT FROM replication_plugin.planned_links('{}') p WHERE p.provider = ends[1] AND p.subscriber = ends[2]) THEN
		RAISE EXCEPTION 'there is no link from "%" to "%"', provider, subscriber USING ERRCODE = '42704',
			HINT = 'The links are in replication_plugin.topology.';
	END IF;
	SELECT coalesce(array_agg(x ORDER BY p.provider, p.subscriber, place), '{}') INTO rest
		FROM replication_plugin.planned_links('{}') p, unnest(ARRAY[p.provider, p.subscriber]) WITH ORDINALITY u(x, place)
		WHERE p.provider <> ends[1] OR p.subscriber <> ends[2];
	PERFORM replication_plugin.store_topology('custom', '{}', rest);
END
$$;
COMMENT ON FUNCTION drop_link(text, text) IS 'takes a link out, if the others still connect all nodes; the topology is then custom';

CREATE FUNCTION pause_link(provider text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	id integer;
BEGIN
	PERFORM replication_plugin.require_arguments('pause_link()', provider);
	id := replication_plugin.other_node(provider);
	INSERT INTO replication_plugin.link AS l (provider, paused) VALUES (id, true)
		ON CONFLICT ON CONSTRAINT link_pkey DO UPDATE SET paused = true;
END
$$;
COMMENT ON FUNCTION pause_link(text) IS 'stops taking changes from a node until resume_link(); it keeps them for us. The link rests when the view links shows it as paused, soon after the commit of the transaction';

CREATE FUNCTION resume_link(provider text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	id integer;
BEGIN
	PERFORM replication_plugin.require_arguments('resume_link()', provider);
	id := replication_plugin.other_node(provider);
	UPDATE replication_plugin.link l SET paused = false WHERE l.provider = id;
END
$$;
COMMENT ON FUNCTION resume_link(text) IS 'takes changes from a node again';

CREATE FUNCTION skip_transaction(provider text, lsn pg_lsn) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	id integer;
BEGIN
	PERFORM replication_plugin.require_arguments('skip_transaction()', provider, lsn::text);
	id := replication_plugin.other_node(provider);
	INSERT INTO replication_plugin.link AS l (provider, skip_lsn) VALUES (id, ARRAY[lsn])
		ON CONFLICT ON CONSTRAINT link_pkey DO UPDATE SET skip_lsn = array_remove(l.skip_lsn, excluded.skip_lsn[1]) || excluded.skip_lsn;
	RAISE WARNING 'the transaction that node "%" committed at % will not be applied on this node', provider, lsn
		USING HINT = 'Its rows may then differ between this node and the others.';
END
$$;
COMMENT ON FUNCTION skip_transaction(text, pg_lsn) IS
	'last resort: does not apply one transaction of a provider, named by the LSN in links.last_error';

-- Notes whether a table is replicated; all nodes follow.
CREATE FUNCTION set_replicated(command text, relation regclass, on_or_off boolean) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	c record;
BEGIN
	PERFORM replication_plugin.require_arguments(command, relation::text);
	IF EXISTS (SELECT FROM replication_plugin.local_node) THEN
		PERFORM replication_plugin.require_ready();
	END IF;
	SELECT n.nspname, k.relname, k.relkind, k.relispartition INTO c
		FROM pg_class k JOIN pg_namespace n ON n.oid = k.relnamespace WHERE k.oid = relation;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no relation with OID %', relation::oid USING ERRCODE = '42P01';
	END IF;
	IF c.relkind NOT IN ('r', 'p') OR c.nspname IN ('replication_plugin', 'information_schema') OR c.nspname ~ '^pg_' THEN
		RAISE EXCEPTION '"%" is no table that could be replicated', relation USING ERRCODE = '42809',
			HINT = 'Ordinary and partitioned tables outside system schemas are replicated.';
	END IF;
	IF c.relispartition THEN
		RAISE EXCEPTION '"%" is a partition', relation USING ERRCODE = '42809',
			HINT = 'Name the partitioned table; its partitions follow it.';
	END IF;
	LOCK TABLE replication_plugin.table_setting IN SHARE ROW EXCLUSIVE MODE; -- ON CONFLICT is not for tables read in decoding
	UPDATE replication_plugin.table_setting s SET replicated = on_or_off
		WHERE s.schema_name = c.nspname AND s.table_name = c.relname;
	IF NOT FOUND THEN
		INSERT INTO replication_plugin.table_setting VALUES (c.nspname, c.relname, on_or_off);
	END IF;
	IF on_or_off AND replication_plugin.exclusion(c.nspname, c.relname) IS NOT NULL THEN
		PERFORM replication_plugin.add_exclusion(command, regexp_replace(c.nspname, '([\\*])', '\\\1', 'g'),
			regexp_replace(c.relname, '([\\*])', '\\\1', 'g'), false);
	END IF;
	IF on_or_off THEN
		PERFORM replication_plugin.require_no_foreign_partitions();
	END IF;
END
$$;
COMMENT ON FUNCTION set_replicated(text, regclass, boolean) IS 'notes whether a table is replicated; all nodes follow';

CREATE FUNCTION exclude_table(relation regclass) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$ BEGIN PERFORM replication_plugin.set_replicated('exclude_table()', relation, false); END $$;
COMMENT ON FUNCTION exclude_table(regclass) IS 'no longer replicates a table, on all nodes';

CREATE FUNCTION include_table(relation regclass) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$ BEGIN PERFORM replication_plugin.set_replicated('include_table()', relation, true); END $$;
COMMENT ON FUNCTION include_table(regclass) IS
	'replicates a table again, on all nodes; rows that differ by then stay different until they are written';

-- Adds a rule of which tables are replicated; all nodes follow.
CREATE FUNCTION add_exclusion(command text, schema_name text, table_name text, excluded boolean) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.require_arguments(command, schema_name, table_name);
	IF EXISTS (SELECT FROM replication_plugin.local_node) THEN
		PERFORM replication_plugin.require_ready();
	END IF;
	IF schema_name IN ('replication_plugin', 'information_schema') OR schema_name ~ '^pg_' THEN
		RAISE EXCEPTION 'schema "%" is never replicated as users'' schemas are', schema_name USING ERRCODE = '42809',
			HINT = 'Ordinary and partitioned tables outside system schemas are replicated.';
	END IF;
	LOCK TABLE replication_plugin.exclusion IN SHARE ROW EXCLUSIVE MODE;
	INSERT INTO replication_plugin.exclusion (serial, set_by, schema_name, table_name, excluded)
		SELECT coalesce(max(e.serial), 0) + 1, coalesce(replication_plugin.my_id(), 0), $2, $3, $4 FROM replication_plugin.exclusion e;
	IF NOT excluded THEN
		PERFORM replication_plugin.require_no_foreign_partitions();
	END IF;
END
$$;
COMMENT ON FUNCTION add_exclusion(text, text, text, boolean) IS 'adds a rule of which tables are replicated; all nodes follow';

CREATE FUNCTION exclude_tables(schema_name text, table_name text DEFAULT '*') RETURNS void LANGUAGE plpgsql VOLATILE
AS $$ BEGIN PERFORM replication_plugin.add_exclusion('exclude_tables()', schema_name, table_name, true); END $$;
COMMENT ON FUNCTION exclude_tables(text, text) IS
	'no longer replicates the tables of these names, on all nodes, also those that are made later; * stands for any characters, \ before one for that one';

CREATE FUNCTION include_tables(schema_name text, table_name text DEFAULT '*') RETURNS void LANGUAGE plpgsql VOLATILE
AS $$ BEGIN PERFORM replication_plugin.add_exclusion('include_tables()', schema_name, table_name, false); END $$;
COMMENT ON FUNCTION include_tables(text, text) IS
	'replicates the tables of these names, on all nodes, also those that are made later; of the rules that match a table the newest counts';

-- Called by another member: whether this one has, durably, what was committed there up to a position; waits for it. So who waits asks over one
-- connection, and need not connect again and again.
CREATE FUNCTION wait_for_progress(origin integer, target pg_lsn, timeout interval) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + timeout;
BEGIN
	LOOP
		IF replication_plugin.origin_progress_durable(origin) >= target THEN
			RETURN true;
		ELSIF clock_timestamp() >= deadline THEN
			RETURN false;
		END IF;
		PERFORM pg_sleep(0.02);
	END LOOP;
END
$$;
COMMENT ON FUNCTION wait_for_progress(integer, pg_lsn, interval) IS 'waits until this node has what another one has committed up to a position; false after the timeout';

-- Whether a member has, durably, what was committed here up to a position; waits for it. Asked where there is no slot for it here;
-- one that does not answer is known by its frontier row.
CREATE FUNCTION member_has(member integer, member_dsn text, target pg_lsn, timeout interval) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	me integer := replication_plugin.my_id();
	answer text[];
BEGIN
	SELECT q INTO answer FROM replication_plugin.remote_query(member_dsn,
		format('SELECT replication_plugin.wait_for_progress(%s, %L, %L)', me, target, timeout)) q;
	RETURN coalesce(answer[1] = 't', false);
EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
	PERFORM pg_sleep(extract(epoch FROM timeout) / 2);
	RETURN EXISTS (SELECT FROM replication_plugin.frontier f WHERE f.node_id = member
		AND replication_plugin.frontier_lsn(f.vector, me) >= target);
END
$$;
COMMENT ON FUNCTION member_has(integer, text, pg_lsn, interval) IS 'whether a member has what was committed here up to a position; waits for it';

-- Commits an empty transaction that travels like a write; returns its position.
CREATE FUNCTION commit_mark() RETURNS pg_lsn LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	answer text[];
BEGIN
	SELECT q INTO answer FROM replication_plugin.remote_query((SELECT l.dsn FROM replication_plugin.local_node l),
		'SELECT replication_plugin.last_commit_lsn()', before => $q$ SELECT pg_logical_emit_message(true, 'replication_plugin', '') $q$) q;
	RETURN answer[1]::pg_lsn;
END
$$;
COMMENT ON FUNCTION commit_mark() IS 'commits an empty transaction that travels like a write; returns its position';

CREATE FUNCTION wait_for_apply(timeout interval DEFAULT '60 seconds') RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT
AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + timeout;
	target pg_lsn := replication_plugin.flush_point();
	mark pg_lsn;
	has_place boolean := false;
	n record;
BEGIN
	FOR n IN SELECT m.node_id, m.dsn, replication_plugin.slot_name(m.node_id) AS slot, p.provider IS NOT NULL AS linked
		FROM replication_plugin.node m
		LEFT JOIN replication_plugin.planned_links('{}') p ON p.provider = replication_plugin.my_id() AND p.subscriber = m.node_id
		WHERE m.state = 'ready' AND m.node_id <> replication_plugin.my_id() ORDER BY 4 DESC, 1
	LOOP
		LOOP
			IF n.linked THEN
				EXIT WHEN EXISTS (SELECT FROM pg_get_replication_slots() s WHERE s.slot_name = n.slot AND s.confirmed_flush_lsn >= target);
			ELSIF has_place OR replication_plugin.wait_place(true) THEN -- else it waits for its turn
				has_place := true;
				mark := coalesce(mark, replication_plugin.commit_mark());
				-- not for longer: it may be removed
				EXIT WHEN replication_plugin.member_has(n.node_id, n.dsn, mark, greatest(least(deadline - clock_timestamp(), '2 seconds'), '0'));
			END IF;
			-- it may be removed while we wait
			EXIT WHEN EXISTS (SELECT FROM replication_plugin.removal r WHERE r.node_id = n.node_id);
			IF clock_timestamp() >= deadline THEN
				RETURN false;
			END IF;
			PERFORM pg_sleep(0.02);
		END LOOP;
	END LOOP;
	PERFORM replication_plugin.wait_place(false) WHERE has_place;
	RETURN true;
END
$$;
COMMENT ON FUNCTION wait_for_apply(interval) IS
	'waits until all other members have durably applied what was committed here before the call; false after the timeout';

CREATE FUNCTION set_group_setting(name text, value text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	s record;
BEGIN
	PERFORM replication_plugin.require_arguments('set_group_setting()', name, value);
	PERFORM replication_plugin.require_ready();
	SELECT * INTO s FROM replication_plugin.group_settings g WHERE g.name = set_group_setting.name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no group setting "%"', name USING ERRCODE = '22023',
			HINT = 'The view replication_plugin.group_settings has them all.';
	ELSIF value <> ALL (s.allowed) THEN
		RAISE EXCEPTION 'group setting "%" cannot be "%"', name, value USING ERRCODE = '22023',
			HINT = 'It can be ' || array_to_string(s.allowed, ' or ') || '.';
	END IF;
	LOCK TABLE replication_plugin.group_setting IN SHARE ROW EXCLUSIVE MODE;
	INSERT INTO replication_plugin.group_setting (name, serial, set_by, value)
		SELECT $1, coalesce(max(p.serial), 0) + 1, replication_plugin.my_id(), $2
		FROM replication_plugin.group_setting p WHERE p.name = $1;
END
$$;
COMMENT ON FUNCTION set_group_setting(text, text) IS
	'sets something for the whole group, on all nodes as the change reaches them; the view group_settings says what there is';
