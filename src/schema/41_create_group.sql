-- Making a group.

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
	PERFORM replication_plugin.agree_on_protocol(v.newest_protocol) FROM replication_plugin.this_library() v;
	PERFORM replication_plugin.tell_version();
	PERFORM replication_plugin.capture_install_all();
	PERFORM replication_plugin.preload_in_sessions(true);
	PERFORM replication_plugin.request_manager(true);
END
$$;
COMMENT ON FUNCTION create_group(text, text, text) IS
	'makes this database the first node of a new group; dsn is how other nodes reach it';
