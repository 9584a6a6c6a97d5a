-- Joining a group, by a copy of a member or as one.

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
	mine record;
BEGIN
	BEGIN
		SELECT q INTO answer FROM replication_plugin.remote_query(via,
			'SELECT group_id, group_name, node_id, node_name, state, encoding, server_version_num,'
			' extension_version, oldest_protocol, newest_protocol, group_protocol FROM replication_plugin.identity()') q;
	EXCEPTION
		WHEN undefined_column THEN
			RAISE EXCEPTION 'the member behind via has version 1.0 of the extension, and this database a newer one' USING ERRCODE = '0A000',
				HINT = 'First update all members of the group from 1.0, together.';
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
	SELECT * INTO mine FROM replication_plugin.this_library();
	IF answer[11]::integer NOT BETWEEN mine.oldest_protocol AND mine.newest_protocol THEN
		RAISE EXCEPTION 'the group of node "%" (version % of the extension) has agreed on protocol %, and version % here speaks % to %', node_name, answer[8],
			answer[11], mine.version, mine.oldest_protocol, mine.newest_protocol USING ERRCODE = '0A000',
			HINT = CASE WHEN answer[11]::integer > mine.newest_protocol THEN 'Install the version of the members on this server.'
				ELSE 'Install the version that follows that of the members; a newer one is next, after SELECT replication_plugin.finish_upgrade() there.' END;
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
	agreed integer;
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
			-- Who finishes an upgrade sees the promise, or had done so before it was given.
			FOR member IN SELECT q[1] AS name, q[2] AS dsn FROM replication_plugin.remote_query(via, list) q WHERE q[3] = 'ready' LOOP
				SELECT q[1]::integer INTO agreed FROM replication_plugin.remote_query(member.dsn, 'SELECT replication_plugin.group_protocol()') q;
				IF agreed > (SELECT v.newest_protocol FROM replication_plugin.this_library() v) THEN
					RAISE EXCEPTION 'the group of node "%" has agreed on protocol % meanwhile, which this version does not speak', member.name, agreed
						USING ERRCODE = '0A000', HINT = 'Install the version of the members on this server.';
				END IF;
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
	PERFORM replication_plugin.require_origin_places(via, copy_data);
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
