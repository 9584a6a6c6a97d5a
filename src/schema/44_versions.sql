-- Members of different versions: what each has, and what they have agreed on (docs/protocol.md, Versions).

-- Tells the group which version this node has, if it was another one when that was last told. The group worker calls it before the first frontier
-- row of a run.
CREATE FUNCTION tell_version() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	me integer := replication_plugin.my_id();
	setting text := 'version of node ' || me;
	now_told text := (SELECT format('extension=%s oldest=%s newest=%s features=%s', v.version, v.oldest_protocol, v.newest_protocol, v.features)
		FROM replication_plugin.this_library() v);
BEGIN
	INSERT INTO replication_plugin.group_setting (name, serial, set_by, value)
		SELECT setting, coalesce(max(g.serial), 0) + 1, me, now_told FROM replication_plugin.group_setting g WHERE g.name = setting
		HAVING (SELECT l.value FROM replication_plugin.group_setting l WHERE l.name = setting ORDER BY l.serial DESC, l.set_by DESC LIMIT 1)
			IS DISTINCT FROM now_told;
END
$$;
COMMENT ON FUNCTION tell_version() IS 'tells the group which version of the extension this node has';

-- The row has the protocol as its serial: so the greatest counts, whoever sets it and in whatever order the rows arrive, and rows of several nodes
-- say the same.
CREATE FUNCTION agree_on_protocol(protocol integer) RETURNS void LANGUAGE sql VOLATILE
AS $$
	INSERT INTO replication_plugin.group_setting (name, serial, set_by, value)
		SELECT 'protocol', $1, replication_plugin.my_id(), $1::text WHERE $1 > replication_plugin.group_protocol() ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION agree_on_protocol(integer) IS 'raises the protocol of the group; never lowers it';

CREATE FUNCTION finish_upgrade() RETURNS integer LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	newest integer;
	newest_version text;
	lacking text;
BEGIN
	PERFORM replication_plugin.require_ready();
	-- no node begins to join meanwhile; one that begins later asks what was agreed on (reserve_everywhere())
	LOCK TABLE replication_plugin.node_reservation IN SHARE MODE;
	SELECT m.newest_protocol, m.extension_version INTO newest, newest_version FROM replication_plugin.member_version m
		WHERE m.newest_protocol IS NOT NULL ORDER BY 1 DESC LIMIT 1;
	IF newest IS NULL OR newest <= replication_plugin.group_protocol() THEN
		RETURN replication_plugin.group_protocol();
	END IF;
	-- Those that are down count, with what they have told last: no version goes back.
	SELECT string_agg(format('"%s" (%s)', m.node_name, CASE WHEN m.extension_version IS NOT NULL THEN 'version ' || m.extension_version
			WHEN m.state = 'joining' THEN 'joining' ELSE 'which has not told its version yet' END), ', ' ORDER BY m.node_id)
		INTO lacking FROM replication_plugin.member_version m WHERE coalesce(m.newest_protocol < newest, true);
	IF lacking IS NOT NULL THEN
		RAISE EXCEPTION 'not all members have version % of the extension: %', newest_version, lacking USING ERRCODE = '55000',
			HINT = CASE WHEN NOT EXISTS (SELECT FROM replication_plugin.member_version m WHERE m.newest_protocol < newest)
				THEN 'Wait until they are ready: SELECT node_name, state, progress FROM replication_plugin.nodes.' ELSE 'Install it there, restart the server, and call ALTER EXTENSION replication_plugin UPDATE. A member that is gone for good: SELECT replication_plugin.remove_node().' END;
	END IF;
	SELECT string_agg(format('"%s"', r.node_name), ', ') INTO lacking FROM replication_plugin.node_reservation r
		WHERE NOT r.for_backup AND r.reserved_at > now() - interval '1 hour' AND NOT EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = r.node_id);
	IF lacking IS NOT NULL THEN
		RAISE EXCEPTION 'nodes are joining, whose versions are not known here yet: %', lacking USING ERRCODE = '55000',
			HINT = 'Wait until they are ready. What has given up joining counts for an hour.';
	END IF;
	PERFORM replication_plugin.agree_on_protocol(newest);
	RETURN replication_plugin.group_protocol();
END
$$;
COMMENT ON FUNCTION finish_upgrade() IS
	'when all members have a newer version of the extension: has the group speak its protocol, which is returned, and use its features, for good; on any member';
