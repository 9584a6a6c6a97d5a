-- What our processes wait for, for the views.

-- Prepared transactions that have more than read a table.
CREATE VIEW prepared_lock AS
	SELECT DISTINCT k.relation, x.gid, x.prepared FROM pg_prepared_xacts x
	JOIN pg_locks h ON h.locktype = 'transactionid' AND h.transactionid = x.transaction AND h.pid IS NULL
	JOIN pg_locks k ON k.virtualtransaction = h.virtualtransaction AND k.pid IS NULL
	WHERE x.database = current_database() AND k.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
		AND k.locktype = 'relation' AND k.granted AND k.mode NOT IN ('AccessShareLock', 'RowShareLock');
COMMENT ON VIEW prepared_lock IS 'prepared transactions that have written to tables, or locked them';

-- Those that have written to a table, or to a partition of it; null: none. Only those that were prepared before a time.
CREATE FUNCTION prepared_writers(relid oid, until timestamptz DEFAULT 'infinity') RETURNS text LANGUAGE sql VOLATILE
AS $$
	SELECT string_agg(DISTINCT format('prepared transaction %L', p.gid), ' and ') FROM replication_plugin.prepared_lock p
	WHERE (p.relation = $1 OR p.relation IN (SELECT i.relid FROM pg_partition_tree($1::regclass) i)) AND p.prepared < $2
$$;
COMMENT ON FUNCTION prepared_writers(oid, timestamptz) IS 'prepared transactions that have written to a table or its partitions, or locked them';

-- Which lock a process has waited for over two seconds, and who has it; nulls if it waits for none. A prepared transaction has
-- no process.
CREATE FUNCTION lock_wait(waiter integer, OUT waits_for text, OUT since timestamptz) LANGUAGE plpgsql VOLATILE STRICT
AS $$
DECLARE
	l record;
	row_of text;
	holders text;
BEGIN
	IF (SELECT a.wait_event_type FROM pg_stat_get_activity(waiter) a WHERE a.pid = waiter) IS DISTINCT FROM 'Lock' THEN
		RETURN;
	END IF;
	SELECT k.* INTO l FROM pg_locks k WHERE k.pid = waiter AND NOT k.granted LIMIT 1;
	IF NOT FOUND OR coalesce(l.waitstart, clock_timestamp()) > clock_timestamp() - interval '2 seconds' THEN
		RETURN;
	END IF;
	SELECT k.relation::regclass::text INTO row_of FROM pg_locks k WHERE k.pid = waiter AND k.locktype = 'tuple' AND k.granted LIMIT 1;
	SELECT string_agg(coalesce(CASE WHEN b.pid <> 0 THEN format('process %s (%s%s)', b.pid, coalesce('user ' || a.usename || ', ', '')
			|| coalesce(nullif(a.application_name, ''), a.backend_type), coalesce(', ' || a.state, '')) END,
			CASE WHEN l.locktype = 'relation' THEN (SELECT string_agg(format('prepared transaction %L', p.gid), ' and ') FROM replication_plugin.prepared_lock p WHERE p.relation = l.relation) END,
			(SELECT string_agg(format('prepared transaction %L', x.gid), ' or ') FROM pg_prepared_xacts x
				WHERE x.database = current_database()
				AND (l.transactionid IS NULL OR x.transaction = l.transactionid))), ' and ')
		INTO holders FROM unnest(pg_blocking_pids(waiter)) b(pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid;
	IF holders IS NOT NULL THEN
		waits_for := format('%s, held by %s', CASE
			WHEN row_of IS NOT NULL THEN 'a row of table ' || row_of
			WHEN l.locktype = 'transactionid' THEN 'a row'
			WHEN l.relation IS NOT NULL THEN format('%s of %s', CASE l.locktype WHEN 'relation' THEN 'a lock' ELSE 'a lock (' || l.locktype || ')' END, l.relation::regclass)
			ELSE format('a lock (%s)', l.locktype) END, holders);
		since := l.waitstart;
	END IF;
END
$$;
COMMENT ON FUNCTION lock_wait(integer) IS 'which lock a process has waited for over two seconds, and who has it';
ALTER FUNCTION lock_wait(integer) SECURITY DEFINER;

-- Ends the sessions that have the lock for which a process waits, whether or not they wait for something else themselves; not those of superusers, nor processes of the
-- server. Who only stands in front of it in the queue has nothing: those are ended for whom he waits there. If they cannot be, and it is he who asks for a lock on the
-- whole table that keeps all writers out meanwhile, he is. Nobody's else: what a holder waits for is not the process's business. Which ones; null: none.
-- Nobody is ended for an advisory lock: code of a table's owner can ask for one that belongs to
-- anybody. The process must have waited for this very lock for longer than lock_patience; or for
-- longer than since, as to sessions of the roles in hasty (oids). Returns, where any is ended, the
-- oids of their roles with spaces between, a colon, and which.
CREATE FUNCTION end_lock_holders(waiter integer, hasty oid[], since interval) RETURNS text LANGUAGE plpgsql VOLATILE STRICT
AS $$
DECLARE
	pids integer[] := pg_blocking_pids(waiter);
	patience interval := current_setting('replication_plugin.lock_patience');
	queue integer[];
	holders integer[];
	is_table boolean;
	holder record;
	is_over boolean;
	roles text;
	ended text;
BEGIN
	-- who waits with a row's tuple lock stands in front of it, and waits for the transaction that has the row
	WITH l AS MATERIALIZED (SELECT k.pid, k.granted, k.locktype, k.mode, clock_timestamp() - k.waitstart > interval '2 seconds' AS is_long,
			clock_timestamp() - k.waitstart > patience AS is_over, clock_timestamp() - k.waitstart > since AS is_hasty,
			(k.locktype, k.database, k.relation, k.page, k.tuple, k.virtualxid, k.transactionid::text, k.classid, k.objid, k.objsubid) AS tag FROM pg_locks k),
		has AS (SELECT w.pid AS waiter, w.is_long, h.pid AS holder FROM l w JOIN l h ON h.tag = w.tag AND h.granted AND NOT w.granted
			AND (h.mode <> 'AccessShareLock' OR w.mode = 'AccessExclusiveLock')),
		me AS (SELECT w.locktype, w.is_over FROM l w WHERE w.pid = $1 AND NOT w.granted AND (w.is_over OR w.is_hasty)
			AND w.locktype IN ('relation', 'page', 'tuple', 'transactionid', 'virtualxid') LIMIT 1),
		q AS (SELECT DISTINCT w.pid FROM l w, me WHERE w.pid = ANY (pids) AND NOT w.granted
			AND (me.locktype = 'tuple' OR NOT EXISTS (SELECT FROM has WHERE has.waiter = $1 AND has.holder = w.pid)))
	SELECT ARRAY(SELECT q.pid FROM q),
		ARRAY(SELECT b.pid FROM unnest(pids) b(pid) WHERE b.pid NOT IN (SELECT q.pid FROM q)
			UNION SELECT has.holder FROM has JOIN q ON q.pid = has.waiter
				WHERE has.is_long AND has.holder NOT IN (SELECT q.pid FROM q) AND has.holder = ANY (pg_blocking_pids(has.waiter))),
		me.locktype = 'relation', me.is_over INTO queue, holders, is_table, is_over FROM me;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	FOR turn IN 1..2 LOOP
		-- one by one: in a query the planner decides in which order conditions are looked at
		FOR holder IN SELECT a.pid, a.usesysid, format('process %s (user %s%s, %s)', a.pid, a.usename, coalesce(', ' || nullif(a.application_name, ''), ''), coalesce(a.state, 'active')) AS name
			FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
			WHERE a.pid = ANY (holders) AND a.backend_type = 'client backend' AND NOT r.rolsuper
				AND (is_over OR a.usesysid = ANY (hasty))
		LOOP
			IF pg_terminate_backend(holder.pid) THEN
				ended := concat_ws(' and ', ended, holder.name);
				roles := concat_ws(' ', roles, holder.usesysid);
			END IF;
		END LOOP;
		EXIT WHEN ended IS NOT NULL OR NOT is_table OR NOT pids <@ queue;
		holders := queue;
	END LOOP;
	RETURN roles || ':' || ended;
END
$$;
COMMENT ON FUNCTION end_lock_holders(integer, oid[], interval) IS
	'ends the sessions, but those of superusers, that have the lock for which a process waits; returns their roles, and which';

-- Whose transaction a process that makes a slot waits for; null if for none.
CREATE FUNCTION transaction_waited_for(waiter integer) RETURNS text LANGUAGE sql VOLATILE STRICT
AS $$
	SELECT coalesce(
		(SELECT format('prepared transaction %L of user %s, open since %s', x.gid, x.owner, x.prepared)
			FROM pg_prepared_xacts x WHERE x.transaction = l.transactionid),
		(SELECT format('the transaction of process %s (user %s%s%s, %s), open since %s', a.pid, coalesce(a.usename, a.backend_type),
				coalesce(', ' || nullif(a.application_name, ''), ''), coalesce(', database ' || a.datname, ''), coalesce(a.state, 'active'), a.xact_start)
			FROM pg_locks h JOIN pg_stat_activity a USING (pid)
			WHERE h.locktype = 'transactionid' AND h.transactionid = l.transactionid AND h.granted LIMIT 1))
	FROM pg_locks l WHERE l.pid = waiter AND NOT l.granted AND l.locktype = 'transactionid' LIMIT 1
$$;
COMMENT ON FUNCTION transaction_waited_for(integer) IS 'whose transaction a process that makes a slot waits for';

-- The same of the processes of this database that are no links, for the view nodes; null if none waits.
CREATE FUNCTION worker_waits() RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	RETURN (SELECT string_agg(format('%s waits for %s', a.backend_type, w.waits_for), '; ' ORDER BY a.backend_type)
		FROM pg_stat_activity a, LATERAL replication_plugin.lock_wait(a.pid) w
		WHERE a.datname = current_database() AND a.backend_type ~ '^replication_plugin (manager|group|park|join|copy)' AND a.wait_event_type = 'Lock'
			AND w.waits_for IS NOT NULL);
END
$$;
COMMENT ON FUNCTION worker_waits() IS 'which locks processes of this database wait for, other than links';
ALTER FUNCTION worker_waits() SECURITY DEFINER;
