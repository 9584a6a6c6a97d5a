-- Who this node is, and who a peer is: names, runs of servers, expulsion.

-- This node's number, null if the database is in no group.
CREATE FUNCTION my_id() RETURNS integer LANGUAGE plpgsql STABLE
AS 'BEGIN RETURN (SELECT node_id FROM replication_plugin.local_node); END';
COMMENT ON FUNCTION my_id() IS 'number of this node; null if the database is in no group';

-- Names of slots and origins; see catalog/names.c.
CREATE FUNCTION slot_name(subscriber integer) RETURNS text
AS 'MODULE_PATHNAME', 'replication_plugin_slot_name' LANGUAGE C STRICT STABLE;
COMMENT ON FUNCTION slot_name(integer) IS 'name of the slot here that feeds a subscriber';
CREATE FUNCTION group_slot_name() RETURNS text
AS 'MODULE_PATHNAME', 'replication_plugin_group_slot_name' LANGUAGE C STABLE;
COMMENT ON FUNCTION group_slot_name() IS 'name of the inactive slot that keeps what any member may lack';
CREATE FUNCTION origin_name(node text) RETURNS text
AS 'MODULE_PATHNAME', 'replication_plugin_origin_name' LANGUAGE C STRICT STABLE;
COMMENT ON FUNCTION origin_name(text) IS 'name of the replication origin here that marks a node''s transactions';

-- What another node is told before a statement that has a dsn in it. One of an older version has no function for it.
CREATE FUNCTION hiding() RETURNS text LANGUAGE sql IMMUTABLE
AS $hiding$
	SELECT 'DO $$ BEGIN IF pg_catalog.to_regprocedure(''replication_plugin.hide_secrets(boolean)'') IS NOT NULL THEN PERFORM replication_plugin.hide_secrets(false); END IF; END $$'
$hiding$;
COMMENT ON FUNCTION hiding() IS 'what another node is told before a statement that has a dsn in it';

-- Who answers here: for nodes that want to join or to check a dsn.
CREATE FUNCTION identity(OUT group_id uuid, OUT group_name text, OUT node_id integer, OUT node_name text,
	OUT state text, OUT encoding text, OUT server_version_num integer, OUT instance_token bigint,
	OUT system_identifier text, OUT layout text, OUT database_oid oid, OUT extension_version text, OUT oldest_protocol integer,
	OUT newest_protocol integer, OUT group_protocol integer)
LANGUAGE sql VOLATILE
AS $$
	SELECT l.group_id, l.group_name, l.node_id, l.node_name, l.state, getdatabaseencoding(),
		current_setting('server_version_num')::integer, replication_plugin.instance_token(),
		c.system_identifier::text, replication_plugin.value_layout(), d.oid,
		v.version, v.oldest_protocol, v.newest_protocol, replication_plugin.group_protocol()
	FROM pg_control_system() c, replication_plugin.this_library() v, pg_database d
	LEFT JOIN replication_plugin.local_node l ON true
	WHERE d.datname = current_database()
$$;
COMMENT ON FUNCTION identity() IS 'who answers here: for nodes that want to join, or check a dsn';

-- The members and former members.
CREATE FUNCTION members(OUT node_id integer, OUT node_name text, OUT dsn text, OUT state text)
RETURNS SETOF record LANGUAGE sql STABLE
AS 'SELECT node_id, node_name, dsn, state FROM replication_plugin.node ORDER BY node_id';
COMMENT ON FUNCTION members() IS 'the members and former members';

-- Notes that this node learned from another that it is out, or must join anew. One that is joining stays so, as only leave_group() clears up after a join.
CREATE FUNCTION note_expulsion(new_state text, why text) RETURNS void LANGUAGE sql VOLATILE
AS $$
	UPDATE replication_plugin.local_node SET state = CASE WHEN state LIKE 'joining:%' THEN state ELSE $1 END,
		last_error = $2, last_error_at = clock_timestamp()
	WHERE state IN ('ready', 'leaving') OR state LIKE 'joining:%'
$$;
COMMENT ON FUNCTION note_expulsion(text, text) IS 'notes that this node is out (removed), or must join anew (needs_rejoin)';

-- Remembers that this node takes changes from a run of another node's server.
CREATE FUNCTION note_peer_run(peer integer, incarnation bigint, run_token bigint) RETURNS void LANGUAGE sql VOLATILE
AS $$
	INSERT INTO replication_plugin.peer_run AS p (node_id, incarnation, run_token) VALUES ($1, $2, $3)
	ON CONFLICT (node_id) DO UPDATE SET incarnation = $2, run_token = $3 WHERE (p.incarnation, p.run_token) IS DISTINCT FROM ($2, $3)
$$;
COMMENT ON FUNCTION note_peer_run(integer, bigint, bigint) IS 'remembers that this node takes changes from a run of another node''s server';

-- An error if a node has been set back (an old backup restored, a copy put in its place). What tells: we know of a later run, or
-- of the same run of another server; or we have of its transactions what comes after the first frontier row of
-- its present run, but not that row. What we have from between its start and that row says nothing, unless we have talked with this
-- very run before: then that came from it.
CREATE FUNCTION check_run(peer integer, incarnation bigint, run_token bigint, run_start pg_lsn, run_row pg_lsn) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	have pg_lsn := replication_plugin.origin_progress(peer);
	known replication_plugin.frontier;
	name text := (SELECT n.node_name FROM replication_plugin.node n WHERE n.node_id = peer);
BEGIN
	SELECT * INTO known FROM replication_plugin.frontier f WHERE f.node_id = peer;
	IF NOT FOUND THEN
		RETURN; -- it has only just become a member
	END IF;
	IF known.incarnation > $2 OR known.incarnation = $2 AND known.run_token <> $3 OR known.incarnation < $2 AND have >= $5 THEN
		RAISE EXCEPTION 'node "%" was restored from an old backup', name USING ERRCODE = 'RP002',
			DETAIL = format('Other nodes have its transactions up to %s of run %s; it is in run %s, which began at %s.',
				have, known.incarnation, $2, $4),
			HINT = 'SELECT replication_plugin.rejoin() on it makes it equal to the others again.';
	END IF;
	IF known.incarnation < $2 AND have > $4 AND NOT EXISTS (SELECT FROM replication_plugin.peer_run p
			WHERE (p.node_id, p.incarnation, p.run_token) = (peer, $2, $3)) THEN
		RAISE EXCEPTION 'node "%" has been started again, or was restored from an old backup: which of the two is not known yet', name
			USING ERRCODE = '55000', DETAIL = format('Other nodes have its transactions up to %s; its present run began at %s.', have, $4),
			HINT = 'If this stays: SELECT replication_plugin.remove_node() of it, then replication_plugin.rejoin() on it.';
	END IF;
END
$$;
COMMENT ON FUNCTION check_run(integer, bigint, bigint, pg_lsn, pg_lsn) IS 'an error if a node has been set back to an earlier state';
