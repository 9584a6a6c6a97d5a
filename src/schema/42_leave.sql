-- Leaving a group, and taking a member out of it.

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
CREATE FUNCTION wait_for_removal(leaving integer, timeout interval) RETURNS boolean
AS 'MODULE_PATHNAME', 'replication_plugin_wait_for_removal' LANGUAGE C VOLATILE STRICT
SET search_path = pg_catalog, pg_temp SET replication_plugin.code_as_owners = on;
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
