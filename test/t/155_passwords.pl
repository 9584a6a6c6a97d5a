# Passwords that are in no dsn: nodes connect as a role with a password, which comes from a passfile or a service file of the server's user. Joins, whose pg_dump
# connects by the same dsn, included.
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
for my $i (1 .. 3)
{
	is($mesh->sql($i, q{SELECT count(*) FROM (SELECT m::text AS x FROM replication_plugin.member m UNION ALL SELECT g::text FROM replication_plugin.group_setting g
		UNION ALL SELECT n::text FROM replication_plugin.nodes n UNION ALL SELECT l::text FROM replication_plugin.local_node l) s WHERE x ~ 'hush'}), 0, "no password in a row of node $i");
	unlike(PostgreSQL::Test::Utils::slurp_file($mesh->node($i)->logfile), qr/hush/, 'nor in its log');
}
done_testing();
