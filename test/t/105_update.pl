# Extension version 1.0, updated to the present one, is what a fresh installation of that is: each function, view, table, column, index,
# trigger, right and comment. A group that was made with 1.0 (if the library of 1.0 can be built: its sources are in the repository's history) has
# its rows and links afterwards.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(1);

# All that belongs to the extension in a database, as texts that do not depend on oids.
my $inventory = <<'SQL';
WITH member AS (SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
	WHERE e.extname = 'replication_plugin' AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
SELECT line FROM (
	SELECT format('function %s %s|%s|%s', p.oid::regprocedure, pg_get_functiondef(p.oid), array(SELECT a::text FROM unnest(p.proacl) a ORDER BY 1),
		obj_description(p.oid, 'pg_proc')) AS line
		FROM pg_proc p WHERE p.oid IN (SELECT objid FROM member WHERE classid = 'pg_proc'::regclass)
	UNION ALL SELECT format('relation %s %s %s|%s|%s', c.oid::regclass, c.relkind, c.reloptions, array(SELECT a::text FROM unnest(c.relacl) a ORDER BY 1),
		obj_description(c.oid, 'pg_class'))
		FROM pg_class c WHERE c.relnamespace = 'replication_plugin'::regnamespace AND c.relkind <> 'c'
	UNION ALL SELECT format('column %s.%s %s %s not null %s default %s storage %s', a.attrelid::regclass, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod),
		a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attstorage)
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE c.relnamespace = 'replication_plugin'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
	UNION ALL SELECT format('view %s %s', c.oid::regclass, pg_get_viewdef(c.oid)) FROM pg_class c
		WHERE c.relnamespace = 'replication_plugin'::regnamespace AND c.relkind = 'v'
	UNION ALL SELECT format('index %s', pg_get_indexdef(c.oid)) FROM pg_class c WHERE c.relnamespace = 'replication_plugin'::regnamespace AND c.relkind = 'i'
	UNION ALL SELECT format('constraint %s %s', o.conrelid::regclass, pg_get_constraintdef(o.oid)) FROM pg_constraint o
		WHERE o.connamespace = 'replication_plugin'::regnamespace
	UNION ALL SELECT format('trigger %s %s', pg_get_triggerdef(t.oid), t.tgenabled) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
		WHERE c.relnamespace = 'replication_plugin'::regnamespace
	UNION ALL SELECT format('event trigger %s %s %s %s %s', evtname, evtevent, evtfoid::regproc, evtenabled, evttags) FROM pg_event_trigger
	UNION ALL SELECT format('belongs %s %s', m.classid::regclass, pg_describe_object(m.classid, m.objid, 0)) FROM member m
	) x ORDER BY line COLLATE "C"
SQL

$mesh->sql(1, 'CREATE DATABASE fresh', 'postgres');
$mesh->sql(1, 'CREATE DATABASE updated', 'postgres');
$mesh->sql(1, 'CREATE ROLE watcher', 'postgres');
$mesh->sql(1, 'CREATE EXTENSION replication_plugin', 'fresh');
my $version = $mesh->sql(1, "SELECT extversion FROM pg_extension WHERE extname = 'replication_plugin'", 'fresh');
$mesh->sql(1, "CREATE EXTENSION replication_plugin VERSION '1.0'; GRANT SELECT ON replication_plugin.links TO watcher", 'updated');
is($mesh->sql(1, "SELECT extversion FROM pg_extension WHERE extname = 'replication_plugin'", 'updated'), '1.0', 'version 1.0 can be created');
$mesh->sql(1, 'ALTER EXTENSION replication_plugin UPDATE', 'updated');
is($mesh->sql(1, "SELECT extversion FROM pg_extension WHERE extname = 'replication_plugin'", 'updated'), $version, "and updated to $version");
is($mesh->sql(1, "SELECT has_table_privilege('watcher', 'replication_plugin.links', 'SELECT')", 'updated'), 't', 'what was granted on a view is kept');
$mesh->sql(1, 'REVOKE SELECT ON replication_plugin.links FROM watcher', 'updated');

my %fresh = map { ($_ => 1) } split /\n(?=(?:function|relation|column|view|index|constraint|trigger|event trigger|belongs) )/, $mesh->sql(1, $inventory, 'fresh');
my %updated = map { ($_ => 1) } split /\n(?=(?:function|relation|column|view|index|constraint|trigger|event trigger|belongs) )/, $mesh->sql(1, $inventory, 'updated');
cmp_ok(scalar(keys %fresh), '>', 300, 'the inventory has something in it');
is(CORE::join("\n", grep { !$updated{$_} } sort keys %fresh), '', 'all of a fresh installation is there after the update');
is(CORE::join("\n", grep { !$fresh{$_} } sort keys %updated), '', 'and nothing else');
done_testing();
