-- What people look at.

-- How this node is doing, for people: what its server lacks comes first, as nothing runs then.
CREATE FUNCTION local_progress(progress text, last_error text) RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT CASE WHEN u.problem IS NOT NULL THEN format('error: %s HINT: %s', u.problem, u.fix)
		WHEN $2 IS NOT NULL THEN 'error: ' || $2 || coalesce('; the next try: ' || $1, '') ELSE $1 END
	FROM replication_plugin.unmet_requirement() u
$$;
COMMENT ON FUNCTION local_progress(text, text) IS 'how this node is doing, for people';

-- Errors can hold values of rows: they are for those who may read the view links.
CREATE FUNCTION error_for_reader(progress text) RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT CASE WHEN $1 NOT LIKE '%error: %' OR has_table_privilege('replication_plugin.links', 'SELECT') THEN $1
		ELSE 'error: shown to members of pg_monitor' END
$$;
COMMENT ON FUNCTION error_for_reader(text) IS 'how this node is doing, without what only those may see who may read the view links';

CREATE VIEW nodes AS
	SELECT n.node_id, n.node_name, replication_plugin.dsn_without_password(n.dsn) AS dsn,
		CASE WHEN l.state = 'ready' AND NOT l.announced AND n.state <> 'removed' THEN 'joining: announced'
			WHEN l.node_id IS NOT NULL AND (n.state <> 'removed' OR l.state = 'needs_rejoin') THEN l.state
			WHEN n.reason = 'needs_rejoin' THEN n.reason ELSE n.state END AS state,
		l.node_id IS NOT NULL AS is_local,
		CASE WHEN l.node_id IS NOT NULL THEN nullif(concat_ws('; ',
			-- it is started within moments, of the server or of the group
			CASE WHEN replication_plugin.manager_pid() IS NULL AND NOT pg_is_in_recovery() AND pg_postmaster_start_time() < clock_timestamp() - interval '10 seconds'
				AND (SELECT m.added_at FROM replication_plugin.member m WHERE m.node_id = l.node_id) < clock_timestamp() - interval '10 seconds'
				AND NOT EXISTS (SELECT FROM replication_plugin.unmet_requirement() u WHERE u.problem IS NOT NULL)
				THEN 'error: no manager process of this database runs, so nothing is replicated HINT: The log of the server says why. If there is no free background worker: raise max_worker_processes and restart the server.' END,
			replication_plugin.error_for_reader(replication_plugin.local_progress(l.progress, l.last_error)), replication_plugin.worker_waits()), '') END AS progress,
		replication_plugin.clock_offset(n.node_id) AS clock_offset, v.extension_version, v.oldest_protocol, v.newest_protocol
	FROM replication_plugin.node n
	LEFT JOIN replication_plugin.local_node l ON l.node_id = n.node_id
	LEFT JOIN replication_plugin.member_version v ON v.node_id = n.node_id
	UNION ALL
	-- joining, and the table of nodes is not here yet
	SELECT l.node_id, l.node_name, replication_plugin.dsn_without_password(l.dsn), l.state, true,
		nullif(concat_ws('; ', replication_plugin.error_for_reader(replication_plugin.local_progress(l.progress, l.last_error)), replication_plugin.worker_waits()), ''), NULL, NULL, NULL, NULL
	FROM replication_plugin.local_node l
	WHERE NOT EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = l.node_id);
COMMENT ON VIEW nodes IS 'the members of the group, also former ones; clock_offset: by how much the node''s clock is ahead of this one''s; then its version of the extension, and the protocols that this speaks';

-- Names of the origins that a link carries in full: its provider, and others by the list of the stream.
CREATE FUNCTION origin_names(provider integer, list text) RETURNS text[] LANGUAGE sql STABLE
AS $$
	SELECT array_agg(n.node_name ORDER BY n.node_id = provider DESC, n.node_id) FROM replication_plugin.node n
	WHERE n.node_id = provider OR list = 'all' AND n.state = 'ready'
		OR list ~ '^[0-9,]+$' AND n.node_id = ANY (string_to_array(list, ',')::integer[])
$$;
COMMENT ON FUNCTION origin_names(integer, text) IS 'names of the origins that a link carries in full';

CREATE VIEW links AS
	SELECT coalesce(n.node_name, 'node ' || s.provider) AS provider, CASE WHEN w.waits_for IS NULL THEN s.state ELSE 'waiting' END AS state, s.received_lsn, s.applied_lsn,
		CASE WHEN s.provider_lsn IS NOT NULL AND s.applied_lsn IS NOT NULL
			THEN greatest(s.provider_lsn - s.applied_lsn, 0)::bigint END AS lag_bytes,
		CASE WHEN s.state = 'streaming' THEN interval '0'
			-- what was committed there before, is here
			ELSE greatest(clock_timestamp() - greatest(s.last_commit_at, s.caught_up_at), interval '0') END AS lag_time,
		s.transactions, s.rows, s.last_error, s.last_error_at, s.restarts,
		CASE WHEN w.waits_for IS NOT NULL THEN w.waits_for
			WHEN s.blocked_on IS NOT NULL THEN coalesce(b.node_name, s.blocked_on::text) || ' ' || s.blocked_lsn END AS waits_for,
		coalesce(w.since, s.blocked_since) AS blocked_since, replication_plugin.origin_names(s.provider, s.full_origins) AS full_origins, s.kind,
		s.protocol
	FROM replication_plugin.link_states() s
	LEFT JOIN replication_plugin.node n ON n.node_id = s.provider
	LEFT JOIN replication_plugin.node b ON b.node_id = s.blocked_on
	LEFT JOIN LATERAL replication_plugin.lock_wait(s.pid) w ON true;
COMMENT ON VIEW links IS 'the links on which this node takes changes';

CREATE VIEW slots AS
	SELECT n.node_name AS subscriber, s.slot_name, s.active,
		(pg_current_wal_lsn() - s.restart_lsn)::bigint AS retained_bytes, s.confirmed_flush_lsn AS confirmed_lsn
	FROM replication_plugin.node n
	JOIN pg_replication_slots s ON s.slot_name = replication_plugin.slot_name(n.node_id)
	UNION ALL
	SELECT NULL, s.slot_name, s.active, (pg_current_wal_lsn() - s.restart_lsn)::bigint, s.confirmed_flush_lsn
	FROM pg_replication_slots s WHERE s.slot_name = replication_plugin.group_slot_name();
COMMENT ON VIEW slots IS 'what this node keeps for its subscribers; without a subscriber: the group slot, which has what any member may lack';

CREATE VIEW topology AS
	WITH planned AS (
		SELECT p.provider, p.subscriber, 'topology' AS kind, p.full_origins FROM replication_plugin.planned_links('{}') p),
	told AS ( -- what the subscribers say of their links; of ours we know more
		SELECT f.node_id AS subscriber, k.key::integer AS provider, k.value ->> 'kind' AS kind, k.value ->> 'state' AS state,
			k.value ->> 'full' AS list, (k.value ->> 'lag')::bigint AS lag_bytes, NULL::interval AS lag_time, f.written_at AS reported_at
		FROM replication_plugin.frontier f JOIN replication_plugin.node n USING (node_id), jsonb_each(f.links) k
		WHERE n.state = 'ready' AND f.node_id IS DISTINCT FROM replication_plugin.my_id()
		UNION ALL
		SELECT replication_plugin.my_id(), s.provider, s.kind, s.state, s.full_origins,
			CASE WHEN s.provider_lsn IS NOT NULL AND s.applied_lsn IS NOT NULL THEN greatest(s.provider_lsn - s.applied_lsn, 0)::bigint END,
			CASE WHEN s.state = 'streaming' THEN interval '0'
				ELSE greatest(clock_timestamp() - greatest(s.last_commit_at, s.caught_up_at), interval '0') END, clock_timestamp()
		FROM replication_plugin.link_states() s)
	SELECT p.node_name AS provider, s.node_name AS subscriber,
		coalesce(replication_plugin.origin_names(p.node_id, t.list),
			(SELECT array_agg(o.node_name ORDER BY o.node_id = p.node_id DESC, o.node_id) FROM replication_plugin.node o WHERE o.node_id = ANY (l.full_origins))) AS full_origins,
		CASE WHEN l.kind IS NOT NULL THEN l.kind WHEN 'joining' IN (p.state, s.state) THEN 'joining'
			WHEN t.kind = 'reroute' THEN t.kind ELSE 'ending' END AS kind, -- ending: of an earlier topology
		coalesce(t.state, 'not yet') AS state, t.lag_bytes, t.lag_time, t.reported_at
	FROM planned l
	FULL JOIN told t USING (provider, subscriber)
	JOIN replication_plugin.node p ON p.node_id = coalesce(l.provider, t.provider)
	JOIN replication_plugin.node s ON s.node_id = coalesce(l.subscriber, t.subscriber);
COMMENT ON VIEW topology IS
	'all links of the group: those to this node as they are, the others as their subscribers last said; kind: topology, reroute, joining, or ending (of an earlier topology)';

CREATE FUNCTION topology_graph(format text DEFAULT 'mermaid') RETURNS text LANGUAGE plpgsql STABLE
AS $$
DECLARE
	t record;
	out text;
	label text;
BEGIN
	IF format IS NULL OR format NOT IN ('mermaid', 'dot') THEN
		RAISE EXCEPTION 'there is no format "%"', format USING ERRCODE = '22023', HINT = 'Formats are mermaid and dot.';
	END IF;
	out := CASE format WHEN 'dot' THEN E'digraph topology {\n' ELSE E'graph LR\n' END;
	FOR t IN SELECT n.node_id, n.node_name, n.state FROM replication_plugin.nodes n
		WHERE n.state NOT IN ('removed', 'needs_rejoin') ORDER BY n.node_id
	LOOP
		label := translate(t.node_name, E'"\\', '''/') || CASE WHEN t.state = 'ready' THEN '' ELSE ' (' || t.state || ')' END;
		out := out || CASE format WHEN 'dot' THEN format(E'  n%s [label="%s"];\n', t.node_id, label)
			ELSE format(E'  n%s["%s"]\n', t.node_id, label) END;
	END LOOP;
	FOR t IN SELECT v.*, p.node_id AS pid, s.node_id AS sid FROM replication_plugin.topology v
		JOIN replication_plugin.node p ON p.node_name = v.provider AND p.state = 'ready'
		JOIN replication_plugin.node s ON s.node_name = v.subscriber AND s.state = 'ready' ORDER BY p.node_id, s.node_id
	LOOP
		label := t.state || CASE WHEN t.kind = 'reroute' THEN ', reroute' ELSE '' END
			|| CASE WHEN t.lag_bytes > 0 THEN ', ' || pg_size_pretty(t.lag_bytes) || ' behind' ELSE '' END;
		out := out || CASE format WHEN 'dot'
			THEN format(E'  n%s -> n%s [label="%s"%s];\n', t.pid, t.sid, label, CASE t.kind WHEN 'reroute' THEN ', style=dashed' ELSE '' END)
			ELSE format(E'  n%s %s|"%s"| n%s\n', t.pid, CASE t.kind WHEN 'reroute' THEN '-.->' ELSE '-->' END, label, t.sid) END;
	END LOOP;
	RETURN out || CASE format WHEN 'dot' THEN E'}\n' ELSE '' END;
END
$$;
COMMENT ON FUNCTION topology_graph(text) IS 'the topology as text to draw: mermaid or dot (Graphviz), with states and lag';

CREATE VIEW progress AS
	SELECT n.node_name AS origin, replication_plugin.origin_progress(n.node_id) AS lsn,
		s.last_commit_at AS commit_timestamp
	FROM replication_plugin.node n
	JOIN pg_replication_origin o ON split_part(o.roname, '@', 1) = replication_plugin.origin_name(n.node_id::text)
	LEFT JOIN replication_plugin.link_states() s ON s.provider = n.node_id;
COMMENT ON VIEW progress IS 'how far the transactions of each node have been applied here';

-- What is to be known of the columns by which a table's rows are found; null if nothing.
CREATE FUNCTION identity_note(relation oid, identity "char") RETURNS text LANGUAGE sql STABLE
AS $$
	WITH key AS (SELECT x.indexrelid, x.indkey FROM pg_index x
		WHERE x.indrelid = relation AND x.indisvalid AND x.indimmediate AND (x.indisreplident AND identity = 'i' OR x.indisprimary)
		ORDER BY (x.indisreplident AND identity = 'i') DESC LIMIT 1)
	SELECT CASE WHEN EXISTS (SELECT FROM key) THEN
		(SELECT format('key column %I is generated: each node computes it, so its expression must be the same on all nodes', a.attname)
			FROM key k JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = ANY (k.indkey) WHERE a.attgenerated <> '' LIMIT 1)
	WHEN identity = 'f' THEN
		(SELECT format('no equality for the type of %s: rows are found there by identical values', string_agg(format('%I (%s)', a.attname, format_type(a.atttypid, NULL)), ', ' ORDER BY a.attnum))
			FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
			WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND coalesce(b.typtype, t.typtype) = 'b'
				AND coalesce(b.typcategory, t.typcategory) <> 'A'
				AND NOT EXISTS (SELECT FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod AND m.amname IN ('btree', 'hash')
					WHERE o.opcdefault AND (o.opcintype = coalesce(b.oid, t.oid) OR EXISTS (SELECT FROM pg_cast s
						WHERE s.castsource = coalesce(b.oid, t.oid) AND s.casttarget = o.opcintype AND s.castmethod = 'b' AND s.castcontext = 'i')))
			HAVING count(*) > 0)
	END
$$;
COMMENT ON FUNCTION identity_note(oid, "char") IS 'what is to be known of the columns by which a table''s rows are found';

-- Tables of which the internal triggers are not all there, or not in force: what is written to them may be missing elsewhere; null if all are.
CREATE FUNCTION capture_note(relation oid, identity text) RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT format('capture is not in force: internal triggers are missing or disabled on %s; SELECT replication_plugin.capture_install(%L) puts them back',
		string_agg(p.relid::regclass::text, ', '), min(p.relid::regclass::text))
	FROM (SELECT relid FROM pg_partition_tree(relation) WHERE isleaf UNION SELECT relation::regclass WHERE NOT EXISTS (SELECT FROM pg_partition_tree(relation))) p
	JOIN pg_class c ON c.oid = p.relid AND c.relkind = 'r'
	WHERE identity <> 'full' AND EXISTS (SELECT FROM replication_plugin.local_node)
		AND (NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = p.relid AND g.tgname ~ '^replication_plugin')
			OR EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = p.relid AND g.tgname ~ '^replication_plugin' AND g.tgenabled <> 'A'))
	HAVING count(*) > 0
$$;
COMMENT ON FUNCTION capture_note(oid, text) IS 'whether the internal triggers of a table are missing or disabled';
ALTER FUNCTION capture_note(oid, text) SECURITY DEFINER;

CREATE VIEW tables AS
	SELECT c.oid::regclass AS "table", x.reason IS NULL AS replicated, i.identity,
		coalesce(s.policy, 'last_write_wins') AS policy,
		(SELECT string_agg(m.column_name || ' ' || m.merge, ', ' ORDER BY m.column_name) FROM replication_plugin.column_merge m
			WHERE m.schema_name = n.nspname AND m.table_name = c.relname AND NOT m.retired) AS merges,
		nullif(concat_ws('; ', CASE WHEN x.reason IS NOT NULL THEN x.reason
			 WHEN i.identity = 'none' AND EXISTS (SELECT FROM pg_index y WHERE y.indrelid = c.oid AND y.indisprimary AND NOT y.indimmediate)
			 THEN 'rows have no key, as the primary key is deferrable: UPDATE and DELETE are refused; add a unique index of its columns and set REPLICA IDENTITY USING INDEX, or set REPLICA IDENTITY FULL'
			 WHEN i.identity = 'none' THEN 'rows have no key: UPDATE and DELETE are refused; add a primary key, set REPLICA IDENTITY FULL, or exclude the table'
			 WHEN i.identity = 'full' THEN 'rows have no key: conflicts cannot be resolved, rows that were changed on two nodes at once may differ' END,
			CASE WHEN x.reason IS NULL AND c.relkind = 'p' THEN (SELECT 'cannot be replicated: partition ' || min(f.partition::text) || ' is a foreign table'
				FROM replication_plugin.foreign_partitions() f WHERE f.root = c.oid) END,
			CASE WHEN x.reason IS NULL THEN i.note END, CASE WHEN x.reason IS NULL THEN replication_plugin.capture_note(c.oid, i.identity) END, w.note, o.note), '') AS note,
		o.note IS NOT NULL AS out_of_step
	FROM pg_class c
	JOIN pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN replication_plugin.table_setting s ON s.schema_name = n.nspname AND s.table_name = c.relname
	CROSS JOIN LATERAL (SELECT replication_plugin.exclusion(n.nspname, c.relname) AS reason) x
	CROSS JOIN LATERAL (SELECT coalesce((SELECT 'key (' || string_agg(a.attname, ', ' ORDER BY k.place) || ')'
			FROM pg_index x, unnest(x.indkey[0:x.indnkeyatts - 1]) WITH ORDINALITY k(attnum, place), pg_attribute a
			WHERE x.indexrelid = (SELECT y.indexrelid FROM pg_index y
					WHERE y.indrelid = c.oid AND y.indisvalid AND y.indimmediate AND (y.indisreplident AND c.relreplident = 'i' OR y.indisprimary)
					ORDER BY (y.indisreplident AND c.relreplident = 'i') DESC LIMIT 1)
				AND a.attrelid = c.oid AND a.attnum = k.attnum),
			CASE c.relreplident WHEN 'f' THEN 'full' ELSE 'none' END) AS identity, replication_plugin.identity_note(c.oid, c.relreplident) AS note) i
	LEFT JOIN LATERAL (SELECT format('waits since %s: changes that arrive are kept on this node, and applied when that is possible; see waiting_tables', w.since) AS note
		FROM replication_plugin.waiting_table w WHERE w.kept AND w.schema_name = n.nspname AND w.table_name = c.relname) w ON true
	LEFT JOIN LATERAL (SELECT CASE WHEN m.what = 'waits' THEN format('waits: node %s passes its rows over since %s, as it could not apply them: see waiting_tables there;'
				' when that is mended, SELECT replication_plugin.resend_table(%L) on a node that has its rows gives them to all others',
				coalesce(d.node_name, m.node_id::text), m.noted_at, c.oid::regclass)
			WHEN m.what = 'prepared' THEN format('out of step: its changes came to wait on node %s at %s while a prepared transaction there had written to it, so its rows may differ;'
				' when that has ended, SELECT replication_plugin.resend_table(%L) on the node whose rows are right gives them to all others',
				coalesce(d.node_name, m.node_id::text), m.noted_at, c.oid::regclass)
			WHEN m.what = 'discarded' THEN format('out of step: changes that node %s had kept were discarded at %s;'
				' SELECT replication_plugin.resend_table(%L) on a node that has its rows gives them to all others',
				coalesce(d.node_name, m.node_id::text), m.noted_at, c.oid::regclass)
			ELSE format('out of step: %s of node %s (%s) got past the triggers, so its rows may differ between nodes;'
				' SELECT replication_plugin.resend_table(%L) on the node whose rows are right gives them to all others',
				m.what, coalesce(d.node_name, m.node_id::text), m.lsn, c.oid::regclass) END AS note
		FROM replication_plugin.out_of_step_mark m LEFT JOIN replication_plugin.node d USING (node_id)
		WHERE m.schema_name = n.nspname AND m.table_name = c.relname ORDER BY m.noted_at, m.node_id, m.lsn LIMIT 1) o ON true
	WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition AND c.oid >= 16384
		AND n.nspname NOT IN ('replication_plugin', 'information_schema') AND n.nspname !~ '^pg_';
COMMENT ON VIEW tables IS 'the tables of this database: whether and how they are replicated, and what becomes of concurrent writes; merges: columns that merge';

CREATE VIEW exclusions AS
	SELECT e.schema_name AS "schema", e.table_name AS "table", e.excluded, e.set_at, n.node_name AS set_on
	FROM replication_plugin.exclusion e LEFT JOIN replication_plugin.node n ON n.node_id = e.set_by ORDER BY e.serial DESC, e.set_by DESC;
COMMENT ON VIEW exclusions IS 'rules of exclude_tables() and include_tables(); of those that match a table the first one counts';

-- Whether the reader of a view may see rows of a table: he has SELECT, and no row security hides any from him.
CREATE FUNCTION may_read(relid oid) RETURNS boolean LANGUAGE plpgsql STABLE
AS $$
BEGIN
	RETURN CASE WHEN EXISTS (SELECT FROM pg_class WHERE oid = relid)
		THEN has_table_privilege(relid, 'SELECT') AND NOT row_security_active(relid)
		ELSE (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) END;
END
$$;
COMMENT ON FUNCTION may_read(oid) IS 'whether the caller may see all rows of a table';

-- For who may see errors, the owner there, and who may read the table.
CREATE VIEW waiting_tables WITH (security_barrier) AS
	SELECT w.schema_name AS "schema", w.table_name AS "table", w.owner, w.provider, w.reason || coalesce(' (' || p.gids || ' has it)', '') AS reason, w.since, k.changes, k.bytes, w.retry_at
	FROM replication_plugin.waiting_table w
	LEFT JOIN LATERAL (SELECT count(*) AS changes, coalesce(sum(octet_length(c.change)), 0)::bigint AS bytes FROM replication_plugin.waiting_change c
		WHERE (c.schema_name, c.table_name) = (w.schema_name, w.table_name)) k ON w.kept
	LEFT JOIN LATERAL (SELECT string_agg(DISTINCT format('prepared transaction %L', p.gid), ' and ') AS gids
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN replication_plugin.prepared_lock p
			ON p.relation = c.oid OR p.relation IN (SELECT i.relid FROM pg_partition_tree(c.oid) i)
		WHERE n.nspname = w.schema_name AND c.relname = w.table_name) p ON true
	WHERE has_table_privilege('replication_plugin.links', 'SELECT') OR w.owner = current_user
		OR replication_plugin.may_read((SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = w.schema_name AND c.relname = w.table_name));
COMMENT ON VIEW waiting_tables IS
	'tables of which arriving changes cannot be applied on this node now, so that all others go on; changes: how many are kept, to be applied when that is possible (null: none, they are passed over, and resend_table() brings them)';

CREATE VIEW conflicts WITH (security_barrier) AS
	SELECT c.detected_at, c.table_name, c.conflict_type, c.resolution, c.row_key, c.local_row,
		coalesce(l.node_name, c.local_origin::text) AS local_origin, c.local_timestamp,
		c.remote_row, coalesce(r.node_name, c.remote_origin::text) AS remote_origin, c.remote_timestamp,
		c.concurrent, c.policy, c.detail
	FROM replication_plugin.conflict_log c
	LEFT JOIN replication_plugin.node l ON l.node_id = c.local_origin
	LEFT JOIN replication_plugin.node r ON r.node_id = c.remote_origin
	WHERE replication_plugin.may_read(c.relid);
COMMENT ON VIEW conflicts IS 'writes that lost, or replaced a concurrent one; rows of tables that the reader may read';

CREATE VIEW conflict_stats AS
	SELECT c.table_name, c.conflict_type, c.resolution, sum(c.n)::bigint AS count, max(c.last_at) AS last_at,
		sum(c.not_logged)::bigint AS not_logged
	FROM replication_plugin.conflict_count c
	GROUP BY 1, 2, 3;
COMMENT ON VIEW conflict_stats IS 'how many conflicts there were, by table, type and resolution; not_logged: those that the view conflicts does not show';

CREATE VIEW unresolved WITH (security_barrier) AS
	SELECT r.relid::regclass AS "table", replication_plugin.stored_key('row_state', r.ctid) AS row_key, r.siblings::integer AS siblings
	FROM replication_plugin.row_state r WHERE r.siblings > 1 AND NOT r.deleted AND replication_plugin.may_read(r.relid);
COMMENT ON VIEW unresolved IS 'rows of mergeable tables that have more than one value; see siblings()';

CREATE VIEW parked_rows WITH (security_barrier) AS
	SELECT p.relid::regclass AS "table", coalesce(i.relname, p.index_id::text) AS "constraint",
		replication_plugin.stored_key('parked_row', p.ctid) AS row_key, replication_plugin.parked_json(p.ctid) AS "row",
		p.node || ':' || p.ts AS version,
		coalesce(n.node_name, p.node::text) AS node,
		replication_plugin.stored_key('blocked_by', p.ctid) AS blocked_by, p.parked_at, p.error
	FROM replication_plugin.parked_row p
	LEFT JOIN pg_class i ON i.oid = p.index_id
	LEFT JOIN replication_plugin.node n ON n.node_id = p.node
	WHERE replication_plugin.may_read(p.relid);
COMMENT ON VIEW parked_rows IS
	'rows that a table does not show, as newer ones are in their way by a unique key or an exclusion constraint; they come back when their place is free; error: why one could not';

CREATE FUNCTION dangling_references(OUT "constraint" text, OUT "table" regclass, OUT "row" jsonb, OUT missing_in regclass, OUT missing jsonb)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	c record;
	parts record;
	shown text;
BEGIN
	FOR c IN SELECT k.conname, k.conrelid, k.confrelid, k.conkey, k.confkey, k.conpfeqop,
			CASE r.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END AS scope, CASE f.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END AS ref_scope
		FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid JOIN pg_namespace s ON s.oid = r.relnamespace
		WHERE k.contype = 'f' AND k.conparentid = 0 AND s.nspname <> 'replication_plugin'
			AND replication_plugin.may_read(k.conrelid) AND replication_plugin.may_read(k.confrelid)
		ORDER BY k.conrelid::regclass::text, k.conname
	LOOP
		-- values of other than built-in types as text, by their output functions: casts to json can be anybody's
		SELECT string_agg(format('c.%I IS NOT NULL', a.attname), ' AND ' ORDER BY u.place) AS complete,
			string_agg(format('p.%I OPERATOR(%I.%s) c.%I', b.attname, n.nspname, o.oprname, a.attname), ' AND ' ORDER BY u.place) AS equal,
			string_agg(format(CASE WHEN a.atttypid < 16384 THEN '%L, c.%I' ELSE '%L, format(''%%s'', c.%I)' END, b.attname, a.attname), ', ' ORDER BY u.place) AS missing
			INTO parts
			FROM unnest(c.conkey, c.confkey, c.conpfeqop) WITH ORDINALITY u(att, refatt, op, place)
			JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = u.att
			JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = u.refatt
			JOIN pg_operator o ON o.oid = u.op JOIN pg_namespace n ON n.oid = o.oprnamespace;
		SELECT string_agg(format(CASE WHEN a.atttypid < 16384 THEN '%L, c.%I' ELSE '%L, format(''%%s'', c.%I)' END, a.attname, a.attname), ', ' ORDER BY a.attnum)
			INTO shown
			FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum > 0 AND NOT a.attisdropped
				AND (a.attnum = ANY (c.conkey) OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indisprimary AND a.attnum = ANY (i.indkey)));
		-- a foreign key is one of its table alone, and points to rows of the other one alone, whatever inherits from them
		RETURN QUERY SELECT * FROM replication_plugin.rows_of_query(format('SELECT %L::text, %L::regclass, jsonb_build_object(%s), %L::regclass, jsonb_build_object(%s) FROM %s%s c'
			' WHERE %s AND NOT EXISTS (SELECT FROM %s%s p WHERE %s)', c.conname, c.conrelid::regclass::text, shown, c.confrelid::regclass::text, parts.missing,
			c.scope, c.conrelid::regclass, parts.complete, c.ref_scope, c.confrelid::regclass, parts.equal))
			AS q("constraint" text, "table" regclass, "row" jsonb, missing_in regclass, missing jsonb);
	END LOOP;
END
$$;
COMMENT ON FUNCTION dangling_references() IS
	'rows (key and reference) whose foreign key points to a row that is not there: a concurrent delete won, or the row is parked; of tables that the caller may read. Reads all of them';

-- Owners of replicated tables with functions of their own, for a comparison of nodes.
CREATE FUNCTION code_paths(OUT owner text, OUT search_path text) RETURNS SETOF record LANGUAGE sql STABLE
AS $$
	SELECT DISTINCT r.rolname::text, replication_plugin.code_search_path(r.oid)
	FROM replication_plugin.tables t JOIN pg_class c ON c.oid = t."table" JOIN pg_roles r ON r.oid = c.relowner
	WHERE t.replicated AND replication_plugin.runs_code(t."table")
$$;
COMMENT ON FUNCTION code_paths() IS
	'owners of replicated tables whose constraints, indexes, defaults, types or triggers call functions that are not built in, and the search_path under which these run here';
