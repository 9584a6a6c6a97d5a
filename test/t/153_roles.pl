# The roles of the extension, which all databases of a server share; and what a role with which nodes connect needs: no superuser.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(1, dsn_role => 'superuser');
my @roles = map { "replication_plugin_$_" } 'peer', 'admin', 'monitor';
my $n = 0;

# Creates the extension in a new database after some SQL; (database, status, error).
sub create_after
{
	my ($before) = @_;
	my $db = 'db' . ++$n;
	$mesh->sql(1, "CREATE DATABASE $db", 'postgres');
	$mesh->sql(1, $before, $db) if $before;
	my ($status, $out, $err) = $mesh->try_sql(1, 'CREATE EXTENSION replication_plugin', $db);
	return ($db, $status, $err);
}

sub no_roles
{
	for my $db (split /\n/, $mesh->sql(1, q{SELECT datname FROM pg_database WHERE datname ~ '^(db[0-9]+|app)$'}, 'postgres'))
	{
		$mesh->sql(1, 'DROP EXTENSION IF EXISTS replication_plugin', $db);
	}
	$mesh->sql(1, "DROP ROLE IF EXISTS $_", 'postgres') for @roles, 'someone';
}

subtest 'made by CREATE EXTENSION' => sub {
	is($mesh->sql(1, q{SELECT string_agg(concat_ws(' ', rolname, rolsuper, rolcanlogin, rolreplication, rolbypassrls, rolcreaterole, rolcreatedb), ', ' ORDER BY rolname)
		FROM pg_roles WHERE rolname ~ '^replication_plugin_'}), CORE::join(', ', map { "$_ f f f f f f" } sort @roles), 'three roles without any rights of their own');
	$mesh->sql(1, 'CREATE ROLE someone LOGIN REPLICATION IN ROLE replication_plugin_peer');
	my ($db, $status, $err) = create_after('');
	is($status, 0, 'a second database takes them, with members') or diag($err);
	$mesh->sql(1, 'DROP EXTENSION replication_plugin', $db);
	is($mesh->sql(1, q{SELECT count(*) FROM pg_roles WHERE rolname ~ '^replication_plugin_'}), 3, 'they stay when it goes from one database');
	no_roles();
	is($mesh->sql(1, q{SELECT count(*) FROM pg_roles WHERE rolname ~ '^replication_plugin_'}), 0, 'and can be dropped when it is in none');
};

my %foreign = (
	'with login' => 'CREATE ROLE replication_plugin_peer LOGIN',
	'superuser' => 'CREATE ROLE replication_plugin_admin SUPERUSER',
	'reads past row security' => 'CREATE ROLE replication_plugin_peer BYPASSRLS',
	'with a member' => 'CREATE ROLE someone; CREATE ROLE replication_plugin_monitor ROLE someone',
	'with an administrator' => 'CREATE ROLE someone; CREATE ROLE replication_plugin_admin ADMIN someone',
	'in another role' => 'CREATE ROLE replication_plugin_peer IN ROLE pg_read_all_data');
for my $what (sort keys %foreign)
{
	subtest "role of that name: $what" => sub {
		my $before = $foreign{$what};
		my ($name) = $before =~ /(replication_plugin_\w+)/;
		no_roles();
		my ($db, $status, $err) = create_after($before);
		isnt($status, 0, 'refused');
		like($err, qr/role "$name" exists already, and /, 'with the reason');
		my ($fix) = $err =~ /HINT: .*?(ALTER ROLE \w+ (?:[A-Z ]+)(?:\.\.\.)?)/;
		ok($fix, 'and the way out') or diag($err);
		$fix =~ s/\.\.\./elses/;
		is($mesh->sql(1, q{SELECT count(*) FROM pg_roles WHERE rolname ~ '^replication_plugin_'}), 1, 'no other role was made');
		$mesh->sql(1, $fix);
		($status) = $mesh->try_sql(1, 'CREATE EXTENSION replication_plugin', $db);
		is($status, 0, 'which works');
		$mesh->sql(1, 'DROP EXTENSION replication_plugin', $db);
		$mesh->sql(1, 'DROP ROLE IF EXISTS elses');
	};
}

subtest 'the mark of a role' => sub {
	no_roles();
	$mesh->sql(1, 'CREATE ROLE boss CREATEROLE LOGIN; CREATE ROLE someone; SET ROLE boss; CREATE ROLE replication_plugin_peer ROLE someone');
	my ($status) = $mesh->try_sql(1, 'SET ROLE boss; ALTER ROLE replication_plugin_peer SET replication_plugin.prepared_role = on');
	isnt($status, 0, 'who is no superuser cannot set it');
	$mesh->sql(1, 'CREATE DATABASE plain', 'postgres');
	($status) = $mesh->try_sql(1, 'SET ROLE boss; ALTER ROLE replication_plugin_peer SET replication_plugin.prepared_role = on', 'plain');
	isnt($status, 0, 'also where the library is not loaded');
	my ($db, $refused) = create_after('');
	isnt($refused, 0, 'so his role is not taken');
	no_roles();
};

subtest 'a dump into a server without the roles' => sub {
	$mesh->sql(1, 'CREATE EXTENSION replication_plugin; CREATE TABLE kept (id int PRIMARY KEY); GRANT SELECT ON kept TO replication_plugin_peer; INSERT INTO kept VALUES (1)');
	my $file = $mesh->node(1)->basedir . '/dump.sql';
	PostgreSQL::Test::Utils::system_or_bail('pg_dump', '-f', $file, '-d', $mesh->direct_dsn(1));
	my $other = $mesh->add_server;
	$mesh->sql($other, 'DROP DATABASE app', 'postgres');
	$mesh->sql($other, "DROP ROLE $_", 'postgres') for @roles;
	$mesh->sql($other, 'CREATE DATABASE app', 'postgres');
	my $target = $mesh->direct_dsn($other);
	PostgreSQL::Test::Utils::system_or_bail('psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', $file, '-d', $target);
	is($mesh->sql($other, q{SELECT has_table_privilege('replication_plugin_peer', 'kept', 'SELECT')}), 't', 'makes them, and gives them what they had');
};

subtest 'a group whose nodes connect as no superusers' => sub {
	my $group = Mesh->new(2, dsn_role => 'superuser');
	$group->make_group('CREATE TABLE t (id int PRIMARY KEY, n int, big text)');
	my $first = $group->sql(1, 'SELECT replication_plugin.frontier()');
	for my $i (1, 2)
	{
		$group->sql($i, 'CREATE ROLE node LOGIN REPLICATION');
	}
	(my $dsn = $group->direct_dsn(2)) =~ s/user=\S+/user=node/;
	my ($status, $out, $err) = $group->try_sql(1, "SELECT replication_plugin.set_node_dsn('node2', '$dsn')");
	isnt($status, 0, 'a role without rights is refused');
	like($err, qr/HINT:.*GRANT replication_plugin_peer TO node/, 'with what it lacks');
	$group->sql($_, 'GRANT replication_plugin_peer TO node') for 1, 2;
	for my $i (1, 2)
	{
		(my $dsn = $group->direct_dsn($i)) =~ s/user=\S+/user=node/;
		$group->sql(1, "SELECT replication_plugin.set_node_dsn('node$i', '$dsn')");
	}
	$group->sql($_, 'SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication') for 1, 2;
	for my $i (1, 2)
	{
		ok($group->poll($i, q{SELECT count(*) FROM pg_stat_replication WHERE usename = 'node' AND state = 'streaming'}, 1), "node $i sends to a session of the role");
	}
	$group->sql(1, "INSERT INTO t SELECT g, 0, (SELECT string_agg(md5(x::text), '') FROM generate_series(1, 500) x) FROM generate_series(1, 20) g");
	$group->wait_converged;
	$group->sql(2, 'UPDATE t SET n = n + 1');
	$group->wait_converged;
	$group->is_identical('rows travel');
	is($group->sql(1, 'SELECT replication_plugin.wait_for_apply()'), 't', 'wait_for_apply()');
	# what a peer is not given
	my $as = sub { my ($sql) = @_; my ($s, $o, $e) = $group->try_sql(1, "SET SESSION AUTHORIZATION node; $sql"); return $s == 0 ? "done: $o" : $e; };
	for my $sql ("SELECT replication_plugin.loopback('')", "SELECT replication_plugin.run_apart('ALTER ROLE node SUPERUSER')", "SELECT replication_plugin.teardown(1)",
		"SELECT replication_plugin.remove_node('node2')", "SELECT * FROM replication_plugin.remote_query('dbname=app', 'SELECT 1')",
		"SELECT secret FROM replication_plugin.message_secret", "INSERT INTO replication_plugin.removal VALUES (2, 1, 'lost')", 'UPDATE replication_plugin.local_node SET state = state',
		'INSERT INTO t VALUES (100)', 'DELETE FROM t', "SELECT replication_plugin.resend_rows('t')", "SELECT replication_plugin.create_origin(7)",
		"SELECT replication_plugin.make_group_slot()", 'SELECT * FROM replication_plugin.parked_row', 'CREATE TABLE replication_plugin.x (i int)')
	{
		like($as->($sql), qr/permission denied/, "a peer may not: $sql");
	}
	$group->sql(1, 'CREATE TABLE hidden (id int PRIMARY KEY, v text); INSERT INTO hidden VALUES (1, $$secret$$); SELECT replication_plugin.exclude_table($$hidden$$)');
	like($as->(q{SELECT * FROM replication_plugin.values_of_write('hidden', '{id}', '{1}', '{v}', 1, 1, '3')}), qr/permission denied for table hidden/, 'nor read by a function what he may not read');
	like($as->(q{SELECT replication_plugin.export_parked('hidden', 0)}), qr/permission denied for table hidden/, 'nor parked rows of it');
	$group->sql(1, 'DROP TABLE hidden');
	$group->sql(2, 'CREATE ROLE runs LOGIN IN ROLE replication_plugin_admin; CREATE ROLE looks LOGIN IN ROLE replication_plugin_monitor');
	$as = sub { my ($who, $sql) = @_; my ($s, $o, $e) = $group->try_sql(2, "SET SESSION AUTHORIZATION $who; $sql"); return $s == 0 ? "done: $o" : $e; };
	is($as->('runs', 'SELECT count(*) FROM replication_plugin.preflight() WHERE NOT ok'), 'done: 0', 'an administrator: preflight()');
	is($as->('runs', "SELECT replication_plugin.pause_link('node1')"), 'done: ', 'pause_link()');
	is($as->('looks', "SELECT count(*) FROM replication_plugin.links"), 'done: 1', 'a monitor reads links');
	ok($group->poll(2, q{SELECT state FROM replication_plugin.links}, 'paused'), 'which is paused');
	is($as->('runs', "SELECT replication_plugin.resume_link('node1')"), 'done: ', 'resume_link()');
	is($as->('runs', "SELECT replication_plugin.exclude_table('t')"), 'done: ', 'exclude_table()');
	is($as->('runs', "SELECT replication_plugin.include_table('t')"), 'done: ', 'include_table()');
	is($as->('runs', "SELECT replication_plugin.set_topology('ring')"), 'done: ', 'set_topology()');
	for my $sql ("SELECT replication_plugin.set_node_dsn('node1', 'host=/tmp')", "SELECT replication_plugin.create_group('a', 'b', 'dbname=app')", "SELECT replication_plugin.run_apart('SELECT 1')",
		"SELECT replication_plugin.set_conflict_policy('t', 'siblings')", "SELECT replication_plugin.rejoin('dbname=app')", 'SELECT * FROM replication_plugin.member', 'SELECT * FROM t')
	{
		like($as->('runs', $sql), qr/permission denied/, "an administrator may not: $sql");
		like($as->('looks', $sql), qr/permission denied/, "nor may a monitor");
	}
	like($as->('looks', "SELECT replication_plugin.pause_link('node1')"), qr/permission denied/, 'a monitor stops nothing');
	is($as->('runs', "SELECT replication_plugin.leave_group()"), 'done: ', 'a node leaves');
	ok($group->poll(1, q{SELECT state FROM replication_plugin.nodes WHERE node_name = 'node2'}, 'removed'), 'and is out');
};
done_testing();
