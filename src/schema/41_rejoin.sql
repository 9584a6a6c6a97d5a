-- Joining again, and waiting until a node is ready.

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
AS 'MODULE_PATHNAME', 'replication_plugin_wait_until_ready' LANGUAGE C VOLATILE STRICT
SET search_path = pg_catalog, pg_temp SET replication_plugin.code_as_owners = on;
COMMENT ON FUNCTION wait_until_ready(interval) IS
	'waits until this node is a full member; true if it is, false after the timeout; progress comes as notices';
