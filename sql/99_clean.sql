--
-- Nothing is left behind on this server: no database, no role, no slot and no origin of a database that is gone, no process.
--
SELECT datname FROM pg_database WHERE datname ~ '^regression_(tokyo|paris|lima|errors|other|rights|tables|server)$';
SELECT rolname FROM pg_roles WHERE rolname ~ '^regress_(alice|monitor|nobody)$';
SELECT name FROM (SELECT slot_name::text AS name FROM pg_replication_slots UNION ALL SELECT roname FROM pg_replication_origin) u
	WHERE name ~ '^replication_plugin_' AND substring(name, '_([0-9]+)_')::oid NOT IN (SELECT oid FROM pg_database);
SELECT backend_type, datname FROM pg_stat_activity WHERE backend_type ~ '^replication_plugin ' AND datname = current_database();
SELECT extname FROM pg_extension WHERE extname = 'replication_plugin';
