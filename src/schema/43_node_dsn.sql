-- A member moves: another host or port, another user or password. The dsn is a group setting named after the node's number, so
-- that whoever sets it and wherever, all members come to the same; the view node reads it.

-- Raises an error unless a dsn leads to a member as the group knows it. Asks the place where it was, too: a copy would pass for it.
CREATE FUNCTION require_member_at(target replication_plugin.node, new_dsn text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
	shown text := replication_plugin.dsn_without_password(new_dsn);
	question constant text := 'SELECT i.group_id, i.node_id, i.node_name, i.state, i.instance_token, pg_catalog.pg_current_wal_insert_lsn()'
		' FROM replication_plugin.identity() i';
	answer text[];
	before text[];
	have pg_lsn := replication_plugin.origin_progress(target.node_id);
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	BEGIN
		SELECT q INTO answer FROM replication_plugin.remote_query(new_dsn, question) q;
	EXCEPTION
		WHEN undefined_function OR invalid_schema_name THEN
			RAISE EXCEPTION 'the dsn "%" leads to a database without the extension replication_plugin, not to node "%"', shown, target.node_name
				USING ERRCODE = '22023', HINT = 'Give the dsn by which other nodes reach that node''s database.';
		WHEN sqlclient_unable_to_establish_sqlconnection THEN
			RAISE EXCEPTION 'node "%" does not answer at its new place: %', target.node_name, SQLERRM USING ERRCODE = '08001',
				HINT = 'Start its server there first, and let it in (pg_hba.conf). Where it was before need not answer.';
	END;
	IF answer[1]::uuid IS DISTINCT FROM l.group_id THEN
		RAISE EXCEPTION 'the dsn "%" leads to a database that is not in this group, not to node "%"', shown, target.node_name USING ERRCODE = '22023',
			HINT = 'Give the dsn by which other nodes reach that node''s database.';
	ELSIF answer[2]::integer <> target.node_id THEN
		RAISE EXCEPTION 'the dsn "%" leads to node "%", not to node "%"', shown, answer[3], target.node_name USING ERRCODE = '22023',
			HINT = 'Give the dsn by which other nodes reach that node''s database.';
	ELSIF answer[4] NOT IN ('ready', 'leaving') THEN
		RAISE EXCEPTION 'node "%" is not ready: %', target.node_name, answer[4] USING ERRCODE = '55000';
	END IF;
	BEGIN
		SELECT q INTO before FROM replication_plugin.remote_query(target.dsn, question) q;
	EXCEPTION WHEN others THEN
		NULL; -- it has moved away
	END;
	IF before[1] = answer[1] AND before[2] = answer[2] AND before[5] <> answer[5] THEN
		RAISE EXCEPTION 'the dsn "%" leads to a copy of node "%", which is still where it was', shown, target.node_name USING ERRCODE = '55000',
			HINT = 'Stop one of the two servers, for good.';
	ELSIF have > answer[6]::pg_lsn THEN
		RAISE EXCEPTION 'the dsn "%" leads to an old copy of node "%"', shown, target.node_name USING ERRCODE = '55000',
			DETAIL = format('Its WAL ends at %s; here are transactions of the node up to %s.', answer[6], have),
			HINT = 'Start the node''s own data directory there. If it is lost: SELECT replication_plugin.remove_node() of the node, then rejoin() on the copy.';
	END IF;
END
$$;
COMMENT ON FUNCTION require_member_at(replication_plugin.node, text) IS 'an error unless a dsn leads to a member as the group knows it';

-- Takes up what a member was told of a node's dsn, so that it need not come by replication, which may need that dsn. On the node
-- itself: its own one, by which it knows that it is no copy. Returns why this node cannot use the dsn, null if it can.
CREATE FUNCTION take_node_dsn(for_group uuid, target integer, number bigint, setter integer, new_dsn text) RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	answer text[];
BEGIN
	IF NOT EXISTS (SELECT FROM replication_plugin.local_node l WHERE l.group_id = for_group AND l.state IN ('ready', 'leaving')) THEN
		RETURN 'it is not a ready member of this group';
	END IF;
	IF target = replication_plugin.my_id() THEN
		PERFORM replication_plugin.check_own_dsn(new_dsn);
		UPDATE replication_plugin.local_node l SET dsn = new_dsn WHERE l.dsn <> new_dsn;
	END IF;
	INSERT INTO replication_plugin.group_setting (name, serial, set_by, value)
		VALUES ('dsn of node ' || target, number, setter, new_dsn) ON CONFLICT DO NOTHING;
	PERFORM replication_plugin.request_manager(true);
	SELECT q INTO answer FROM replication_plugin.remote_query(new_dsn, 'SELECT node_id FROM replication_plugin.identity()') q;
	RETURN CASE WHEN answer[1]::integer IS DISTINCT FROM target THEN 'it leads to another database there' END;
EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
	RETURN SQLERRM;
END
$$;
COMMENT ON FUNCTION take_node_dsn(uuid, integer, bigint, integer, text) IS 'takes up a new dsn of a member; returns why this node cannot use it, null if it can';

CREATE FUNCTION set_node_dsn(node_name text, dsn text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
	target replication_plugin.node;
	member record;
	number bigint;
	answer text[];
BEGIN
	PERFORM replication_plugin.hide_secrets(true);
	PERFORM replication_plugin.require_arguments('set_node_dsn()', node_name, dsn);
	PERFORM replication_plugin.dsn_without_password(dsn); -- is it one?
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND OR l.state NOT IN ('ready', 'leaving') THEN
		RAISE EXCEPTION 'this node is not ready: %', coalesce(l.state, 'it is in no group') USING ERRCODE = '55000';
	END IF;
	SELECT * INTO target FROM replication_plugin.node n WHERE n.node_name = set_node_dsn.node_name
		ORDER BY n.state = 'removed', n.node_id DESC LIMIT 1;
	IF NOT FOUND OR target.state = 'removed' THEN
		RAISE EXCEPTION 'there is no node "%" in this group', node_name USING ERRCODE = '42704',
			HINT = 'The members are in replication_plugin.nodes.';
	ELSIF target.state <> 'ready' THEN
		RAISE EXCEPTION 'node "%" is not ready: %', node_name, target.state USING ERRCODE = '55000',
			HINT = 'It joins with the dsn that join_group() was given. Call leave_group() on it, and join anew.';
	END IF;
	PERFORM replication_plugin.require_no_transaction('set_node_dsn()'); -- others are told before it commits
	IF target.node_id = l.node_id THEN
		PERFORM replication_plugin.check_own_dsn(dsn);
	ELSE
		PERFORM replication_plugin.require_member_at(target, dsn);
	END IF;
	PERFORM replication_plugin.require_rights(dsn, false);
	-- one at a time here; what other members tell this one meanwhile must not wait, as they may be waiting for us
	LOCK TABLE replication_plugin.group_setting IN SHARE UPDATE EXCLUSIVE MODE;
	SELECT coalesce(max(g.serial), 0) + 1 INTO number FROM replication_plugin.group_setting g
		WHERE g.name = 'dsn of node ' || target.node_id;
	INSERT INTO replication_plugin.group_setting (name, serial, set_by, value)
		VALUES ('dsn of node ' || target.node_id, number, l.node_id, dsn);
	IF target.node_id = l.node_id THEN
		UPDATE replication_plugin.local_node SET dsn = set_node_dsn.dsn;
	END IF;
	PERFORM replication_plugin.request_manager(true);
	-- the node itself first: without it the others have nowhere to go
	FOR member IN SELECT n.node_name, n.node_id, CASE WHEN n.node_id = target.node_id THEN set_node_dsn.dsn ELSE n.dsn END AS dsn
		FROM replication_plugin.node n WHERE n.state = 'ready' AND n.node_id <> l.node_id ORDER BY n.node_id <> target.node_id, n.node_id
	LOOP
		BEGIN
			SELECT q INTO answer FROM replication_plugin.remote_query(member.dsn, format('SELECT replication_plugin.take_node_dsn(%L, %s, %s, %s, %L)',
				l.group_id, target.node_id, number, l.node_id, set_node_dsn.dsn), replication_plugin.hiding()) q;
		EXCEPTION WHEN others THEN
			IF member.node_id = target.node_id THEN
				RAISE EXCEPTION 'node "%" does not take the dsn "%": %', node_name, replication_plugin.dsn_without_password(dsn), SQLERRM USING ERRCODE = SQLSTATE,
					HINT = 'It must reach itself by it, too.';
			END IF;
			answer := ARRAY['it could not be told now, and hears of it by replication: ' || SQLERRM];
		END;
		IF answer[1] IS NOT NULL THEN
			RAISE WARNING 'node "%" may not reach node "%" by the dsn "%": %', member.node_name, node_name,
				replication_plugin.dsn_without_password(dsn), answer[1]
				USING HINT = 'Its links from that node then stay down, and what they carry comes another way.';
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION set_node_dsn(text, text) IS
	'after a member has got another host, port, user or password: tells all members its dsn; links follow. On any member; the node must answer there';
