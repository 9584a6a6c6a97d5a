# Passwords that are in no dsn: nodes connect as a role with a password, which comes from a passfile or a service file of the server's user, or from the user
# mapping of a foreign server. Joins, whose pg_dump connects by the same dsn, included.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(3, dsn_role => 'superuser');
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $passfile = "$dir/passes";
my $service = "$dir/services.conf";

sub write_file
{
	my ($file, $text) = @_;
	open my $fh, '>', $file or die "$file: $!";
	print $fh $text;
	close $fh;
	chmod 0600, $file;
}

my (@dsn, $passes, $services);
for my $i (1 .. 3)
{
	my $node = $mesh->node($i);
	my $file = $node->data_dir . '/pg_hba.conf';
	my $hba = PostgreSQL::Test::Utils::slurp_file($file);
	$mesh->sql($i, "CREATE ROLE repl LOGIN REPLICATION PASSWORD 'hush$i' IN ROLE replication_plugin_peer");
	write_file($file, "local all repl scram-sha-256\n$hba");
	$passes .= sprintf("%s:%d:*:repl:hush%d\n", $node->host, $node->port, $i);
	$services .= sprintf("[node%d]\nhost=%s\nport=%d\ndbname=app\nuser=repl\npassfile=%s\n", $i, $node->host, $node->port, $passfile);
	push @dsn, sprintf('host=%s port=%d dbname=app user=repl passfile=%s', $node->host, $node->port, $passfile);
}
write_file($passfile, $passes);
write_file($service, $services);
for my $i (1 .. 3)
{
	# the service file is found by the environment of the server
	$mesh->node($i)->stop;
	local $ENV{PGSERVICEFILE} = $service;
	$mesh->node($i)->start;
}

$mesh->sql(1, "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 100) g");
(my $wrong = $dsn[0]) =~ s/passfile=\S+/passfile=\/nowhere/;
my ($status, undef, $err) = $mesh->try_sql(1, "SELECT replication_plugin.create_group('test', 'node1', '$wrong')");
isnt($status, 0, 'without the password: refused');
$mesh->sql(1, "SELECT replication_plugin.create_group('test', 'node1', '$dsn[0]')");
$mesh->sql(2, "SELECT replication_plugin.join_group('node2', '$dsn[1]', '$dsn[0]')");
is($mesh->sql(2, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'a node joins by a passfile');
$mesh->sql(3, "SELECT replication_plugin.join_group('node3', 'service=node3', 'service=node1')");
is($mesh->sql(3, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'another by a service file');
$mesh->wait_for_streaming;
$mesh->sql($_, "INSERT INTO t VALUES (1000 + $_, 'from $_')") for 1 .. 3;
$mesh->wait_converged;
$mesh->is_identical('rows travel');
is($mesh->sql($_, q{SELECT count(*) FROM pg_stat_replication WHERE usename = 'repl'}), 2, "both others read from node $_ as that role") for 1 .. 3;

# What node $at needs to connect to node $to, with a user mapping of a role.
sub make_server
{
	my ($at, $to, $wrapper, $role, $password) = @_;
	my $node = $mesh->node($to);
	$mesh->sql($at, sprintf("CREATE SERVER node%d FOREIGN DATA WRAPPER %s OPTIONS (host '%s', port '%d', dbname 'app');
		CREATE USER MAPPING FOR %s SERVER node%d OPTIONS (user 'repl', password '%s')", $to, $wrapper, $node->host, $node->port, $role, $to, $password || "hush$to"));
}
my $me = $mesh->user;
my $fourth;
subtest 'user mappings' => sub {
	my $refused = sub {
		my ($i, $sql, $like, $name) = @_;
		my ($status, undef, $err) = $mesh->try_sql($i, "SELECT replication_plugin.$sql");
		ok($status != 0 && $err =~ $like, $name) or diag("$status $err");
		unlike($err, qr/hush/, "$name: no password is told");
	};
	for my $at (1 .. 3)
	{
		$mesh->sql($at, 'CREATE EXTENSION ' . ($at == 3 ? 'dblink' : 'postgres_fdw'));
		make_server($at, $_, $at == 3 ? 'dblink_fdw' : 'postgres_fdw', $at == 2 ? 'PUBLIC' : $me) for 1 .. 3;
	}
	$refused->(1, "set_node_dsn('node1', 'foreign_server=nowhere')", qr/foreign server "nowhere", which a dsn names, does not exist on this node.*HINT: +Each node needs one/s, 'no such server');
	$refused->(1, "set_node_dsn('node1', 'foreign_server=node1 host=/elsewhere')", qr/invalid dsn.*can be nothing/s, 'a host beside it');
	$refused->(1, "set_node_dsn('node1', 'foreign_server=''node1')", qr/invalid dsn/, 'a quote that does not end');
	$refused->(1, "set_node_dsn('node1', 'foreign_server=node2')", qr/leads to another server/, 'a server that leads elsewhere');
	$mesh->sql(1, q{CREATE ROLE mallory; ALTER SERVER node1 OPTIONS (ADD application_name 'a'); GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO mallory; ALTER SERVER node1 OWNER TO mallory});
	$refused->(1, "set_node_dsn('node1', 'foreign_server=node1')", qr/does not belong to a superuser.*HINT.*ALTER SERVER node1 OWNER TO/s, "a server of somebody else's");
	$mesh->sql(1, "ALTER SERVER node1 OWNER TO $me");
	$mesh->sql($_, "SELECT replication_plugin.set_node_dsn('node$_', 'foreign_server=node$_')") for 1 .. 3;
	unlink $passfile, $service;
	for my $i (1 .. 3) { is($mesh->sql($i, q{SELECT string_agg(dsn, ' ' ORDER BY node_name) FROM replication_plugin.nodes}), 'foreign_server=node1 foreign_server=node2 foreign_server=node3', "node $i has the new dsns"); }
	# all connect anew
	$mesh->node($_)->restart for 1 .. 3;
	$mesh->wait_for_streaming;
	$mesh->sql($_, "INSERT INTO t VALUES (2000 + $_, 'from $_')") for 1 .. 3;
	$mesh->wait_converged;
	$mesh->is_identical('links by user mappings', 1 .. 3);
	is($mesh->sql(2, q{SELECT string_agg(requirement || ': ' || detail, '; ') FROM replication_plugin.preflight() WHERE NOT ok}), '', 'preflight() has nothing to say');

	# one that is wrong, one that is gone, and right again
	my $disconnect = sub { $mesh->sql(1, q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication WHERE application_name LIKE '%node2%' OR usename = 'repl'}); };
	my $told = sub { my ($like) = @_; $mesh->poll(2, "SELECT coalesce(last_error ~ '$like', false) AND state = 'backoff' FROM replication_plugin.links WHERE provider = 'node1'") };
	$mesh->sql(2, q{ALTER USER MAPPING FOR PUBLIC SERVER node1 OPTIONS (SET password 'hushhush')});
	$disconnect->();
	ok($told->('could not connect to "foreign_server=node1".*password authentication failed for user "repl"'), 'a wrong password: the link says so');
	$mesh->sql(2, 'DROP USER MAPPING FOR PUBLIC SERVER node1');
	ok($told->('foreign server "node1", which a dsn names, has no user mapping for .*HINT.*CREATE USER MAPPING'), 'no user mapping: the link says so, and what to do');
	like($mesh->sql(2, q{SELECT detail FROM replication_plugin.preflight() WHERE NOT ok AND requirement = 'rights on node node1'}), qr/has no user mapping/, 'so does preflight()');
	$mesh->sql(2, q{CREATE USER MAPPING FOR repl SERVER node1 OPTIONS (user 'repl', password 'hush1')});
	ok($told->('has no user mapping'), "another role's is none");
	$mesh->sql(2, qq{CREATE USER MAPPING FOR $me SERVER node1 OPTIONS (user 'repl', password 'hush1')});
	$mesh->wait_for_streaming;
	$mesh->sql(1, "INSERT INTO t VALUES (3000, 'again')");
	$mesh->wait_converged;

	# Another password, while links stream. What decodes WAL connects to its own node when a change has got past the triggers: not as the catalogs were then.
	$mesh->sql(1, q{CREATE FUNCTION raw_delete(regclass, tid) RETURNS void AS 'unit_tests' LANGUAGE C; ALTER ROLE repl PASSWORD 'hushnew'});
	$mesh->sql(1, q{SELECT raw_delete('t', ctid) FROM t WHERE id = 1});
	$mesh->sql($_, qq{ALTER USER MAPPING FOR $me SERVER node1 OPTIONS (SET password 'hushnew')}) for 1 .. 3;
	ok($mesh->poll($_, q{SELECT out_of_step FROM replication_plugin.tables WHERE "table" = 't'::regclass}), "node $_ is told that a change got past the triggers") for 1 .. 3;
	$mesh->sql(1, "SELECT replication_plugin.resend_table('t')");
	$mesh->wait_for_streaming;
	$mesh->wait_converged;

	# a node joins
	$fourth = $mesh->add_server;
	$mesh->sql(4, "CREATE ROLE repl LOGIN REPLICATION PASSWORD 'hush4' IN ROLE replication_plugin_peer; CREATE ROLE mallory");
	my $hba = $mesh->node(4)->data_dir . '/pg_hba.conf';
	write_file($hba, "local all repl scram-sha-256\n" . PostgreSQL::Test::Utils::slurp_file($hba));
	$mesh->node(4)->reload;
	$mesh->sql(4, 'CREATE EXTENSION postgres_fdw');
	make_server($_, 4, $_ == 3 ? 'dblink_fdw' : 'postgres_fdw', $me) for 1 .. 4;
	$refused->(4, "join_group('node4', 'foreign_server=node4', 'foreign_server=node1')", qr/foreign server "node1", which a dsn names, does not exist/, 'a join needs the server of the source, too');
	make_server(4, $_, 'postgres_fdw', $me, $_ == 1 ? 'hushnew' : undef) for 1 .. 3;
	$mesh->sql(4, "SELECT replication_plugin.join_group('node4', 'foreign_server=node4', 'foreign_server=node1')");
	is($mesh->sql(4, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'a node joins by user mappings');
	$mesh->wait_for_streaming;
	$mesh->sql($_, "INSERT INTO t VALUES (4000 + $_, 'from $_')") for 1 .. 4;
	$mesh->wait_converged;
	$mesh->is_identical('the new node by user mappings');
	is($mesh->sql(4, q{SELECT string_agg(array_to_string(umoptions, ' '), ' ' ORDER BY srvname) FROM pg_user_mappings WHERE usename <> 'repl'}),
		join(' ', map { "user=repl password=hush$_" } 'new', 2 .. 4), 'its own servers and mappings are as they were');
};

for my $i (1 .. $mesh->size)
{
	is($mesh->sql($i, q{SELECT count(*) FROM (SELECT m::text AS x FROM replication_plugin.member m UNION ALL SELECT g::text FROM replication_plugin.group_setting g
		UNION ALL SELECT n::text FROM replication_plugin.nodes n UNION ALL SELECT l::text FROM replication_plugin.local_node l) s WHERE x ~ 'hush'}), 0, "no password in a row of node $i");
	unlike(PostgreSQL::Test::Utils::slurp_file($mesh->node($i)->logfile), qr/hush/, 'nor in its log');
}
done_testing();
