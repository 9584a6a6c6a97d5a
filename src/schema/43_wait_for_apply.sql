-- Waiting until others have what this node has.

-- Called by another member: whether this one has, durably, what was committed there up to a position; waits for it. So who waits asks over one
-- connection, and need not connect again and again.
CREATE FUNCTION wait_for_progress(origin integer, target pg_lsn, timeout interval) RETURNS boolean
AS 'MODULE_PATHNAME', 'replication_plugin_wait_for_progress' LANGUAGE C VOLATILE STRICT;
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
AS 'MODULE_PATHNAME', 'replication_plugin_wait_for_apply' LANGUAGE C VOLATILE STRICT
SET search_path = pg_catalog, pg_temp SET replication_plugin.code_as_owners = on;
COMMENT ON FUNCTION wait_for_apply(interval) IS
	'waits until all other members have durably applied what was committed here before the call; false after the timeout';
