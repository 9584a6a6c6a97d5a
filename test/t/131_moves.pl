# Members move: another port, another user and password; links follow. What is refused: other nodes, other databases, copies.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(3);
$mesh->make_group('CREATE TABLE t (id int PRIMARY KEY, v text)');
$mesh->sql(1, "INSERT INTO t VALUES (1, 'before')");
$mesh->wait_converged;

# A server goes on at another port.
sub move
{
	my ($i) = @_;
	my $node = $mesh->node($i);
	$node->stop;
	$node->{_port} = PostgreSQL::Test::Cluster::get_free_port();
	$node->append_conf('postgresql.conf', 'port = ' . $node->port);
	$node->start;
}

# Everybody hears of everybody.
sub hears
{
	my ($name) = @_;
	my $row = 1 + $mesh->sql(1, 'SELECT max(id) FROM t');
	$mesh->sql($_, sprintf("INSERT INTO t VALUES (%d, '%s')", $row * 10 + $_, $name)) for 1 .. 3;
	ok($mesh->poll($_, "SELECT count(*) FROM t WHERE v = '$name'", 3), "$name: all rows arrive on node $_") for 1 .. 3;
	ok($mesh->poll($_, "SELECT count(*) FROM replication_plugin.links WHERE state = 'streaming'", 2), "$name: both links to node $_ stream") for 1 .. 3;
}

subtest 'a member moves' => sub {
	move(2);
	$mesh->try_sql(1, sprintf("SELECT replication_plugin.set_node_dsn('node2', '%s')", $mesh->dsn(2)));
	hears('moved');
	ok($mesh->poll($_, "SELECT dsn ~ 'port=" . $mesh->node(2)->port . "' FROM replication_plugin.nodes WHERE node_name = 'node2'"), "node $_ shows where it is") for 1 .. 3;
};

subtest 'a member says itself that it has moved' => sub {
	move(3);
	ok($mesh->poll(3, "SELECT progress ~ 'set_node_dsn' FROM replication_plugin.nodes WHERE is_local"), 'it says what to do');
	$mesh->try_sql(3, sprintf("SELECT replication_plugin.set_node_dsn('node3', '%s')", $mesh->dsn(3)));
	hears('moved by itself');
};

subtest 'another user, another password' => sub {
	my $node = $mesh->node(2);
	my $hba = PostgreSQL::Test::Utils::slurp_file($node->data_dir . '/pg_hba.conf');
	my $file = $node->data_dir . '/pg_hba.conf';
	$node->safe_psql('app', "CREATE ROLE repl LOGIN SUPERUSER PASSWORD 'first'");
	open my $fh, '>', $file or die;
	print $fh "local all repl scram-sha-256\nlocal replication repl scram-sha-256\n$hba";
	close $fh;
	$node->reload;
	my $dsn = sprintf('host=%s port=%d dbname=app user=repl password=', $node->host, $node->port);
	my ($status, undef, $err) = $mesh->try_sql(3, "SELECT replication_plugin.set_node_dsn('node2', '${dsn}wrong')");
	isnt($status, 0, 'a wrong password is refused');
	unlike($err, qr/wrong/, 'and not shown');
	$mesh->try_sql(3, "SELECT replication_plugin.set_node_dsn('node2', '${dsn}first')");
	ok($mesh->poll(2, "SELECT count(*) FROM pg_stat_replication WHERE usename = 'repl'", 2), 'both links use it');
	hears('other user');
	is($mesh->sql(1, "SELECT count(*) FROM replication_plugin.nodes n WHERE n::text ~ 'first'"), 0, 'no password in the view');
	$node->safe_psql('app', "ALTER ROLE repl PASSWORD 'second'; SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
	ok($mesh->poll(1, "SELECT bool_or(coalesce(last_error ~ 'password authentication failed', false)) FROM replication_plugin.links WHERE provider = 'node2'"), 'links say that the password does not do');
	$mesh->try_sql(1, "SELECT replication_plugin.set_node_dsn('node2', '${dsn}second')");
	hears('other password');
};

subtest 'members are moved on all nodes at once' => sub {
	my @jobs = map { my $i = $_; map { $mesh->start_sql($i, sprintf("SET statement_timeout = '120s'; SELECT replication_plugin.set_node_dsn('node%d', '%s application_name=by%d')",
		$_, $mesh->dsn($_), $i)) } 1, 3 } 1 .. 3;
	my @errors = grep { $_ ne '' } map { ($mesh->finish_sql($_))[1] } @jobs;
	is("@errors", '', 'nobody waits for ever, or fails');
	my $dsns = q{SELECT string_agg(dsn, ' ' ORDER BY node_id) FROM replication_plugin.node};
	$mesh->wait_converged; # what node 1 shows before all has come to it is not the last word
	my $first = $mesh->sql(1, $dsns);
	ok($mesh->poll($_, $dsns, $first), "node $_ has come to the same") for 2, 3;
	hears('moved on all nodes at once');
};

subtest 'what is refused' => sub {
	my $refused = sub {
		my ($name, $dsn, $message, $hint) = @_;
		my ($status, undef, $err) = $mesh->try_sql(1, "SELECT replication_plugin.set_node_dsn('node2', '$dsn')");
		isnt($status, 0, "$name is refused");
		like($err, qr/$message.*HINT: .*$hint/s, "$name: the error says why, and what to do");
	};
	my $node = $mesh->node(2);
	$mesh->node(1)->safe_psql('postgres', 'CREATE DATABASE other');
	$mesh->node(1)->safe_psql('postgres', 'CREATE DATABASE empty');
	$mesh->node(1)->safe_psql('other', 'CREATE EXTENSION replication_plugin');
	$refused->('another node', $mesh->dsn(3), 'leads to node "node3", not to node "node2"', 'Give the dsn');
	$refused->('this node', $mesh->dsn(1), 'leads to node "node1", not to node "node2"', 'Give the dsn');
	$refused->('a database of no group', $mesh->dsn(1, 'other'), 'leads to a database that is not in this group', 'Give the dsn');
	$refused->('a database without the extension', $mesh->dsn(1, 'empty'), 'without the extension', 'Give the dsn');
	$refused->('a dead end', sprintf('host=%s port=1 dbname=app', $node->host), 'does not answer at its new place', 'Start its server there');
	$refused->('no dsn', 'nonsense', 'invalid dsn', 'looks like');
	my ($status, undef, $err) = $mesh->try_sql(1, sprintf("SELECT replication_plugin.set_node_dsn('nobody', '%s')", $mesh->dsn(2)));
	like($err, qr/there is no node "nobody"/, 'a node that does not exist');
	# a copy of the node's server
	my $copy = PostgreSQL::Test::Cluster->new('copy');
	$node->backup('copied', backup_options => [ '-U', $mesh->user ]);
	$copy->init_from_backup($node, 'copied');
	$copy->start;
	$refused->('a copy', sprintf('host=%s port=%d dbname=app user=%s', $copy->host, $copy->port, $mesh->user),
		'leads to a copy of node "node2"', 'Stop one of the two');
	$copy->stop('immediate');
	hears('in the end');
};

$mesh->wait_converged;
$mesh->is_identical('at the end');
done_testing();
