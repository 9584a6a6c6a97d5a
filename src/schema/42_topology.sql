-- The shape of a group, and its links.

-- Numbers of ready members by their names, in that order.
CREATE FUNCTION ready_nodes(names text[]) RETURNS integer[] LANGUAGE plpgsql STABLE
AS $$
DECLARE
	name text;
	id integer;
	ids integer[] := '{}';
BEGIN
	FOREACH name IN ARRAY names LOOP
		SELECT n.node_id INTO id FROM replication_plugin.node n WHERE n.node_name = name AND n.state = 'ready';
		IF id IS NULL THEN
			RAISE EXCEPTION 'there is no ready node "%" in this group', name USING ERRCODE = '42704',
				HINT = 'The members are in replication_plugin.nodes.';
		END IF;
		IF id = ANY (ids) THEN
			RAISE EXCEPTION 'node "%" is named twice', name USING ERRCODE = '22023';
		END IF;
		ids := ids || id;
	END LOOP;
	RETURN ids;
END
$$;
COMMENT ON FUNCTION ready_nodes(text[]) IS 'numbers of ready members by their names';

-- Puts a topology in force, unless it leaves a member out.
CREATE FUNCTION store_topology(new_shape text, new_nodes integer[], new_links integer[]) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	members integer[];
	sources integer[];
	left_out text;
BEGIN
	LOCK TABLE replication_plugin.topology_setting IN SHARE ROW EXCLUSIVE MODE;
	SELECT coalesce(array_agg(n.node_id ORDER BY n.node_id), '{}'), coalesce(array_agg(coalesce(n.source, 0) ORDER BY n.node_id), '{}')
		INTO members, sources FROM replication_plugin.node n WHERE n.state = 'ready';
	SELECT string_agg(n.node_name, ', ' ORDER BY n.node_id) INTO left_out FROM replication_plugin.node n
		WHERE n.node_id = ANY (replication_plugin.topology_unreachable(new_shape, new_nodes, new_links, members, sources));
	IF left_out IS NOT NULL THEN
		RAISE EXCEPTION 'this topology does not connect all nodes: % cannot be reached, or cannot reach the others', left_out
			USING ERRCODE = '22023', HINT = 'There must be a path of links from each node to each other one.';
	END IF;
	INSERT INTO replication_plugin.topology_setting (serial, set_by, shape, nodes, links)
		SELECT coalesce(max(t.serial), 0) + 1, replication_plugin.my_id(), new_shape, new_nodes, new_links
		FROM replication_plugin.topology_setting t;
END
$$;
COMMENT ON FUNCTION store_topology(text, integer[], integer[]) IS 'puts a topology in force';

CREATE FUNCTION set_topology(shape text, nodes text[] DEFAULT NULL) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	ids integer[];
	present integer[] := '{}';
	missing text;
BEGIN
	PERFORM replication_plugin.require_arguments('set_topology()', shape);
	PERFORM replication_plugin.require_ready();
	IF shape NOT IN ('all_to_all', 'star', 'ring', 'custom') THEN
		RAISE EXCEPTION 'there is no topology "%"', shape USING ERRCODE = '22023',
			HINT = 'Shapes are all_to_all, star (the hub is named first), ring (each takes from the one before it) and custom.';
	END IF;
	IF shape = 'custom' THEN
		IF nodes IS NOT NULL THEN
			RAISE EXCEPTION 'topology "custom" takes no list of nodes' USING ERRCODE = '22023',
				HINT = 'It keeps the links that there are; add_link() and drop_link() change them.';
		END IF;
		LOCK TABLE replication_plugin.topology_setting IN SHARE ROW EXCLUSIVE MODE;
		PERFORM replication_plugin.store_topology(shape, '{}', replication_plugin.present_links());
		RETURN;
	END IF;
	SELECT coalesce(array_agg(n.node_id ORDER BY n.node_id), '{}') INTO ids FROM replication_plugin.node n WHERE n.state = 'ready';
	IF nodes IS NOT NULL THEN
		present := replication_plugin.ready_nodes(nodes);
		SELECT string_agg(n.node_name, ', ' ORDER BY n.node_id) INTO missing FROM replication_plugin.node n
			WHERE n.node_id = ANY (ids) AND n.node_id <> ALL (present);
		IF missing IS NOT NULL THEN
			RAISE EXCEPTION 'this topology leaves nodes out: %', missing USING ERRCODE = '22023',
				HINT = 'Name all ready nodes, or none.';
		END IF;
		ids := present;
	END IF;
	PERFORM replication_plugin.store_topology(shape, CASE WHEN shape = 'all_to_all' THEN '{}' ELSE ids END, '{}');
END
$$;
COMMENT ON FUNCTION set_topology(text, text[]) IS
	'shapes the group, on all members, also under load: all_to_all, star (hub first), ring (each takes from the one before it), custom (the links that there are)';

-- The links of the group by its topology, as a flat list: provider, subscriber, provider, ...
CREATE FUNCTION present_links() RETURNS integer[] LANGUAGE sql STABLE
AS $$
	SELECT coalesce(array_agg(x ORDER BY p.provider, p.subscriber, place), '{}')
	FROM replication_plugin.planned_links('{}') p, unnest(ARRAY[p.provider, p.subscriber]) WITH ORDINALITY u(x, place)
$$;
COMMENT ON FUNCTION present_links() IS 'the links of the group by its topology, as a flat list';

-- Numbers of the two ends of a link.
CREATE FUNCTION link_ends(command text, provider text, subscriber text) RETURNS integer[] LANGUAGE plpgsql STABLE
AS $$
BEGIN
	PERFORM replication_plugin.require_arguments(command, provider, subscriber);
	PERFORM replication_plugin.require_ready();
	IF provider = subscriber THEN
		RAISE EXCEPTION 'a node needs no link from itself' USING ERRCODE = '22023';
	END IF;
	RETURN replication_plugin.ready_nodes(ARRAY[provider, subscriber]);
END
$$;
COMMENT ON FUNCTION link_ends(text, text, text) IS 'numbers of the two ends of a link';

CREATE FUNCTION add_link(provider text, subscriber text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	ends integer[] := replication_plugin.link_ends('add_link()', provider, subscriber);
BEGIN
	LOCK TABLE replication_plugin.topology_setting IN SHARE ROW EXCLUSIVE MODE; -- the links that there are, with those of sessions beside this one
	IF EXISTS (SELECT FROM replication_plugin.planned_links('{}') p WHERE p.provider = ends[1] AND p.subscriber = ends[2]) THEN
		RAISE EXCEPTION 'there is a link from "%" to "%" already', provider, subscriber USING ERRCODE = '42710';
	END IF;
	PERFORM replication_plugin.store_topology('custom', '{}', replication_plugin.present_links() || ends);
END
$$;
COMMENT ON FUNCTION add_link(text, text) IS 'adds a link, on which the subscriber takes changes from the provider; the topology is then custom';

CREATE FUNCTION drop_link(provider text, subscriber text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	ends integer[] := replication_plugin.link_ends('drop_link()', provider, subscriber);
	rest integer[];
BEGIN
	LOCK TABLE replication_plugin.topology_setting IN SHARE ROW EXCLUSIVE MODE;
	IF NOT EXISTS (SELECT FROM replication_plugin.planned_links('{}') p WHERE p.provider = ends[1] AND p.subscriber = ends[2]) THEN
		RAISE EXCEPTION 'there is no link from "%" to "%"', provider, subscriber USING ERRCODE = '42704',
			HINT = 'The links are in replication_plugin.topology.';
	END IF;
	SELECT coalesce(array_agg(x ORDER BY p.provider, p.subscriber, place), '{}') INTO rest
		FROM replication_plugin.planned_links('{}') p, unnest(ARRAY[p.provider, p.subscriber]) WITH ORDINALITY u(x, place)
		WHERE p.provider <> ends[1] OR p.subscriber <> ends[2];
	PERFORM replication_plugin.store_topology('custom', '{}', rest);
END
$$;
COMMENT ON FUNCTION drop_link(text, text) IS 'takes a link out, if the others still connect all nodes; the topology is then custom';

CREATE FUNCTION pause_link(provider text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	id integer;
BEGIN
	PERFORM replication_plugin.require_arguments('pause_link()', provider);
	id := replication_plugin.other_node(provider);
	INSERT INTO replication_plugin.link AS l (provider, paused) VALUES (id, true)
		ON CONFLICT ON CONSTRAINT link_pkey DO UPDATE SET paused = true;
END
$$;
COMMENT ON FUNCTION pause_link(text) IS 'stops taking changes from a node until resume_link(); it keeps them for us. The link rests when the view links shows it as paused, soon after the commit of the transaction';

CREATE FUNCTION resume_link(provider text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	id integer;
BEGIN
	PERFORM replication_plugin.require_arguments('resume_link()', provider);
	id := replication_plugin.other_node(provider);
	UPDATE replication_plugin.link l SET paused = false WHERE l.provider = id;
END
$$;
COMMENT ON FUNCTION resume_link(text) IS 'takes changes from a node again';

CREATE FUNCTION skip_transaction(provider text, lsn pg_lsn) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	id integer;
BEGIN
	PERFORM replication_plugin.require_arguments('skip_transaction()', provider, lsn::text);
	id := replication_plugin.other_node(provider);
	INSERT INTO replication_plugin.link AS l (provider, skip_lsn) VALUES (id, ARRAY[lsn])
		ON CONFLICT ON CONSTRAINT link_pkey DO UPDATE SET skip_lsn = array_remove(l.skip_lsn, excluded.skip_lsn[1]) || excluded.skip_lsn;
	RAISE WARNING 'the transaction that node "%" committed at % will not be applied on this node', provider, lsn
		USING HINT = 'Its rows may then differ between this node and the others.';
END
$$;
COMMENT ON FUNCTION skip_transaction(text, pg_lsn) IS
	'last resort: does not apply one transaction of a provider, named by the LSN in links.last_error';
