-- Which links this node should have.

-- The topology that is in force. Without a row all nodes are linked with all.
CREATE FUNCTION current_topology(OUT shape text, OUT nodes integer[], OUT links integer[], OUT serial bigint) LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
BEGIN
	SELECT t.shape, t.nodes, t.links, t.serial INTO shape, nodes, links, serial FROM (
		SELECT shape, nodes, links, serial, set_by FROM replication_plugin.topology_setting
		UNION ALL SELECT 'all_to_all', '{}', '{}', 0, 0) t
	ORDER BY t.serial DESC, t.set_by DESC LIMIT 1;
END
$$;
COMMENT ON FUNCTION current_topology() IS 'the topology that is in force';

-- The links of the whole group; to this node, those from providers that are down are replaced.
CREATE FUNCTION planned_links(down integer[], OUT provider integer, OUT subscriber integer, OUT reroute boolean, OUT full_origins integer[])
RETURNS SETOF record LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
		SELECT p.* FROM replication_plugin.current_topology() t,
			(SELECT coalesce(array_agg(node_id ORDER BY node_id), '{}') AS members, coalesce(array_agg(coalesce(source, 0) ORDER BY node_id), '{}') AS sources
			 FROM replication_plugin.node WHERE state = 'ready') m,
			replication_plugin.topology_plan(t.shape, t.nodes, t.links, m.members, m.sources, coalesce(replication_plugin.my_id(), 0), $1) p;
END
$$;
COMMENT ON FUNCTION planned_links(integer[]) IS 'the links of the group; to this node, those from providers that are down are replaced';

-- The links that this node takes changes from. Those that are down stay wanted, beside what replaces them ("reroute"); what
-- replaces them may be down as well, and so on. From a node that joins through this one there is a link as well: by it the group
-- learns that it is ready.
CREATE FUNCTION wanted_links(down integer[], OUT provider integer, OUT full_origins text, OUT kind text)
RETURNS SETOF record LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
		WITH RECURSIVE s(replaced) AS (
			SELECT '{}'::integer[]
			UNION SELECT ARRAY(SELECT unnest(s.replaced) UNION SELECT p.provider FROM replication_plugin.planned_links(s.replaced) p
				WHERE p.subscriber = replication_plugin.my_id() AND p.provider = ANY ($1) ORDER BY 1)
			FROM s WHERE $1 <> '{}')
		SELECT p.provider, coalesce(string_agg(DISTINCT o::text, ',') FILTER (WHERE o <> p.provider), 'own'),
			CASE WHEN bool_and(p.reroute) THEN 'reroute' ELSE 'topology' END
		FROM (SELECT p.* FROM s, replication_plugin.planned_links(s.replaced) p) p,
			-- the first transaction of a new node comes the way of its source's
			LATERAL (SELECT unnest(p.full_origins) UNION SELECT n.node_id FROM replication_plugin.node n
				WHERE n.state = 'joining' AND n.source = ANY (p.full_origins)) f(o)
		WHERE p.subscriber = replication_plugin.my_id() AND o <> p.subscriber
		GROUP BY p.provider
		UNION ALL
		SELECT n.node_id, 'own', 'joining' FROM replication_plugin.node n WHERE n.state = 'joining' AND n.source = replication_plugin.my_id();
END
$$;
COMMENT ON FUNCTION wanted_links(integer[]) IS 'the links that this node takes changes from';

-- Sees to it that a link has its row, with what it carries.
CREATE FUNCTION set_link(link_provider integer, origins text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
BEGIN
	INSERT INTO replication_plugin.link AS l (provider, full_origins) VALUES ($1, $2)
		ON CONFLICT ON CONSTRAINT link_pkey DO UPDATE SET full_origins = excluded.full_origins
		WHERE l.full_origins <> excluded.full_origins;
END
$$;
COMMENT ON FUNCTION set_link(integer, text) IS 'notes what a link carries in full besides its provider''s own';

-- Notes what each wanted link carries, and returns them all: "provider kind paused protocol origins", with ";" between. The protocol is what
-- both ends know as agreed, by the provider's last frontier row: its stream speaks that or a newer one, when it is started anew.
CREATE FUNCTION tend_wanted_links(down integer[]) RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	w record;
	agreed integer := replication_plugin.group_protocol();
	list text[] := '{}';
BEGIN
	FOR w IN SELECT x.*, l.full_origins AS noted, coalesce(l.paused, false) AS paused,
			least(agreed, coalesce(substring(f.view FROM 'protocol ([0-9]{1,9})(?![0-9])')::integer, 0)) AS protocol
		FROM replication_plugin.wanted_links(down) x
		LEFT JOIN replication_plugin.link l ON l.provider = x.provider
		LEFT JOIN replication_plugin.frontier f ON f.node_id = x.provider
	LOOP
		IF w.noted IS DISTINCT FROM w.full_origins THEN
			PERFORM replication_plugin.set_link(w.provider, w.full_origins);
		END IF;
		list := list || format('%s %s %s %s %s', w.provider, left(w.kind, 1), w.paused::integer, w.protocol, w.full_origins);
	END LOOP;
	RETURN array_to_string(list, ';');
END
$$;
COMMENT ON FUNCTION tend_wanted_links(integer[]) IS 'notes what each wanted link carries in full, and returns them all';
