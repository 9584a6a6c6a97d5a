-- Taking a database out of its group.

-- Waits until all workers of this database but the manager have ended; false if they do not.
CREATE FUNCTION wait_for_workers_to_stop(patience interval) RETURNS boolean
AS 'MODULE_PATHNAME', 'replication_plugin_wait_for_workers_to_stop' LANGUAGE C VOLATILE STRICT
SET search_path = pg_catalog, pg_temp SET replication_plugin.code_as_owners = on;
COMMENT ON FUNCTION wait_for_workers_to_stop(interval) IS 'waits until this database''s workers have ended';

-- Drops all slots that this database has for members. Who reads from one is cut off, and may be back at once.
CREATE FUNCTION drop_slots() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	s record;
	mine text := '^' || left(replication_plugin.slot_name(0), -1) || '([0-9]+|group)$';
BEGIN
	FOR attempt IN 1..20 LOOP
		-- the group slot last, and alone: as long as it is there, nothing is lost
		FOR s IN SELECT slot_name, active_pid FROM pg_replication_slots WHERE slot_name ~ mine AND (slot_name !~ '_group$'
			OR NOT EXISTS (SELECT FROM pg_replication_slots o WHERE o.slot_name ~ mine AND o.slot_name !~ '_group$'))
		LOOP
			BEGIN
				PERFORM pg_terminate_backend(s.active_pid, 5000);
				PERFORM pg_drop_replication_slot(s.slot_name);
			EXCEPTION WHEN object_in_use OR undefined_object THEN
				NULL; -- looked at again
			END;
		END LOOP;
		EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name ~ mine);
		CONTINUE WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name ~ mine AND slot_name !~ '_group$');
		PERFORM pg_sleep(0.05);
	END LOOP;
	IF EXISTS (SELECT FROM pg_replication_slots WHERE slot_name ~ mine) THEN
		RAISE EXCEPTION 'slots of the group are in use' USING ERRCODE = '55006',
			HINT = 'See replication_plugin.slots; end the sessions that read from them, and try again.';
	END IF;
END
$$;
COMMENT ON FUNCTION drop_slots() IS 'drops all slots that this database has for members';

-- Has all sessions of this database load the library, beside what they load already, or ends that: so that after a restart of the
-- server without it in shared_preload_libraries it is there to refuse writes. What is set for the database goes before what is
-- set for the server, whose value at this time is kept in it.
CREATE FUNCTION preload_in_sessions(wanted boolean) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	own text := (SELECT substr(c, length('session_preload_libraries=') + 1) FROM pg_db_role_setting s, unnest(s.setconfig) c
		WHERE s.setdatabase = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) AND s.setrole = 0
			AND c LIKE 'session\_preload\_libraries=%');
	server text := (SELECT f.setting FROM pg_file_settings f WHERE f.name = 'session_preload_libraries' AND f.applied
		ORDER BY f.seqno DESC LIMIT 1);
	of_server text[] := ARRAY(SELECT trim(both '" ' FROM x) FROM regexp_split_to_table(server, ',') x WHERE trim(both '" ' FROM x) <> '');
	list text[] := ARRAY(SELECT trim(both '" ' FROM x) FROM regexp_split_to_table(coalesce(own, server), ',') x WHERE trim(both '" ' FROM x) <> '');
BEGIN
	IF wanted THEN
		LOCK TABLE replication_plugin.local_node IN ROW SHARE MODE; -- whoever takes the node out has it alone
		IF 'replication_plugin' = ANY (list) OR NOT EXISTS (SELECT FROM replication_plugin.local_node) THEN
			RETURN;
		END IF;
		list := list || 'replication_plugin'::text;
	ELSIF own IS NULL OR 'replication_plugin' <> ALL (list) THEN
		RETURN;
	ELSE
		list := array_remove(list, 'replication_plugin');
	END IF;
	IF list = of_server OR list = '{}' THEN
		EXECUTE format('ALTER DATABASE %I RESET session_preload_libraries', current_database());
	ELSE
		EXECUTE format('ALTER DATABASE %I SET session_preload_libraries = %s', current_database(),
			(SELECT string_agg(quote_literal(x), ', ' ORDER BY place) FROM unnest(list) WITH ORDINALITY u(x, place)));
	END IF;
END
$$;
COMMENT ON FUNCTION preload_in_sessions(boolean) IS 'has all sessions of this database load the library, or ends that';

-- Takes everything of the group out of this database and server, but users' rows. What can fail comes first; what is not
-- undone by a rollback comes last: the slots, of these the group slot, from which all others can be made again; then the progress
-- of origins. expected: the number that the caller has seen here, as another session may have taken the node out, and in again, meanwhile.
CREATE FUNCTION teardown(expected integer) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	LOCK TABLE replication_plugin.local_node IN SHARE UPDATE EXCLUSIVE MODE; -- one at a time; workers can still write it
	IF NOT EXISTS (SELECT FROM replication_plugin.local_node l WHERE l.node_id = expected) THEN
		RAISE EXCEPTION 'another session has taken this node out of its group meanwhile' USING ERRCODE = '55000',
			HINT = 'See replication_plugin.nodes: it may have joined anew.';
	END IF;
	PERFORM replication_plugin.suspend_workers();
	IF NOT replication_plugin.wait_for_workers_to_stop('60 seconds') THEN
		RAISE EXCEPTION 'workers of the group do not stop' USING ERRCODE = '55006',
			HINT = 'Look for processes "replication_plugin ..." in pg_stat_activity, end them, and try again.';
	END IF;
	IF EXISTS (SELECT FROM replication_plugin.parked_row) THEN
		RAISE WARNING 'this node forgets % parked rows (they are still in the view parked_rows of the other members, if there are any)',
			(SELECT count(*) FROM replication_plugin.parked_row);
	END IF;
	IF EXISTS (SELECT FROM replication_plugin.waiting_change) THEN
		RAISE WARNING 'this node forgets % changes of other nodes, of tables that wait: %', (SELECT count(*) FROM replication_plugin.waiting_change),
			(SELECT string_agg(format('%I.%I', w.schema_name, w.table_name), ', ') FROM replication_plugin.waiting_table w WHERE w.kept);
	END IF;
	LOCK TABLE replication_plugin.local_node IN EXCLUSIVE MODE; -- the manager makes an origin under a weaker one
	DELETE FROM replication_plugin.local_node;
	DELETE FROM replication_plugin.member;
	DELETE FROM replication_plugin.member_ready;
	DELETE FROM replication_plugin.removal;
	DELETE FROM replication_plugin.topology_setting;
	DELETE FROM replication_plugin.stable_point;
	DELETE FROM replication_plugin.frontier;
	DELETE FROM replication_plugin.slot_base;
	DELETE FROM replication_plugin.table_setting;
	DELETE FROM replication_plugin.mergeable_table;
	DELETE FROM replication_plugin.column_merge;
	DELETE FROM replication_plugin.node_priority;
	DELETE FROM replication_plugin.group_setting;
	DELETE FROM replication_plugin.awaited_state;
	DELETE FROM replication_plugin.out_of_step;
	DELETE FROM replication_plugin.waiting_change;
	DELETE FROM replication_plugin.waiting_table;
	DELETE FROM replication_plugin.exclusion;
	DELETE FROM replication_plugin.merge_settled;
	DELETE FROM replication_plugin.link;
	DELETE FROM replication_plugin.peer_run;
	DELETE FROM replication_plugin.join_script;
	DELETE FROM replication_plugin.join_state;
	DELETE FROM replication_plugin.node_reservation;
	TRUNCATE replication_plugin.tombstone, replication_plugin.row_state, replication_plugin.parked_row, replication_plugin.row_pin, replication_plugin.table_rewrite;
	PERFORM replication_plugin.capture_remove_all();
	PERFORM replication_plugin.preload_in_sessions(false);
	PERFORM replication_plugin.request_manager(false);
	PERFORM replication_plugin.drop_slots();
	PERFORM replication_plugin.drop_origins();
END
$$;
COMMENT ON FUNCTION teardown(integer) IS 'ends this database''s membership under a number here, and nowhere else';
