# The commands of docs/topologies.md, as they stand there, in their order; README's group of three databases of one server.
use strict;
use warnings;
use File::Basename;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my %number = (tokyo => 1, paris => 2, lima => 3, quito => 4);
my $mesh = Mesh->new(4, conf => "replication_plugin.frontier_interval = 100ms\n");
$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('docs', 'tokyo', '%s')", $mesh->dsn(1)));
$mesh->sql(1, 'CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g FROM generate_series(1, 100) g; CREATE TABLE log (v text)');
for my $name (qw(paris lima quito))
{
	my $i = $number{$name};
	$mesh->sql($i, sprintf("SELECT replication_plugin.join_group('%s', '%s', '%s')", $name, $mesh->dsn($i), $mesh->dsn(1)));
	is($mesh->sql($i, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', "$name joins");
}

# Commands by section: the indented lines, without comments, up to each semicolon.
my (%commands, $section);
for my $line (split /\n/, slurp_file(dirname(__FILE__) . '/../../docs/topologies.md'))
{
	$section = $1 if $line =~ /^#+ (.*)/;
	next unless $line =~ /^    (.*)/;
	my $code = $1 =~ s/\s--\s.*//r;
	push @{ $commands{$section} }, '' unless $commands{$section} && $commands{$section}[-1] !~ /;\s*$/;
	$commands{$section}[-1] .= " $code" unless $code =~ /^(#|--)/;
}

# What is written on each node arrives on all others, and all are equal.
my $round = 0;
sub works
{
	my ($name, @members) = @_;
	my $v = 'round ' . ++$round;
	$mesh->sql($_, "INSERT INTO t VALUES ($round * 1000 + $_, '$v'); UPDATE t SET v = '$v $_' WHERE id = $_; INSERT INTO log VALUES ('$v $_')") for @members;
	$mesh->wait_converged(@members);
	$mesh->is_identical($name, @members);
}

# Runs the commands of a section on a node.
sub run_section
{
	my ($i, $name) = @_;
	my @list = @{ $commands{$name} || [] };
	cmp_ok(scalar @list, '>', 0, "$name: there are commands");
	for my $c (@list)
	{
		my ($status, $out, $err) = $mesh->try_sql($i, $c);
		is($status, 0, "$name:$c") or diag($err);
		works($c, 1 .. 4) if $c =~ /set_topology|_link/;
	}
}

run_section(1, 'Topologies');
like($mesh->sql(1, 'SELECT replication_plugin.topology_graph()'), qr/graph LR.*n1\["tokyo"\].*n4 -->\|"[^"]+"\| n1/s, 'the graph');
run_section(1, 'Custom: two sites and a bridge');
is($mesh->sql(2, 'SELECT count(*) FROM replication_plugin.planned_links(\'{}\')'), 6, 'two sites and a bridge have six links');

# lima is lost, and comes back
$mesh->kill_server(3);
run_section(1, 'A node is lost');
works('without lima', 1, 2, 4);
$mesh->start_server(3);
ok($mesh->poll(3, "SELECT state FROM replication_plugin.nodes WHERE is_local", 'removed'), 'lima knows that it is out');
run_section(3, 'A node comes back');
is($mesh->sql(3, "SELECT node_name || ' ' || state FROM replication_plugin.nodes WHERE is_local"), 'lima ready', 'lima is back');
works('with lima again', 1 .. 4);

# a node from a physical backup
my @list = @{ $commands{'A big database: a node from a physical backup'} };
my ($prepare) = grep { /prepare_base_backup/ } @list;
my @join = grep { /join_group|wait_until_ready/ } map { s/.*(SELECT replication_plugin\.join_group)/$1/r } @list;
is(scalar @join, 2, 'the commands of the physical backup');
my $kyoto = PostgreSQL::Test::Cluster->new('kyoto');
my $dsn = sprintf('host=%s port=%d dbname=app user=%s', $kyoto->host, $kyoto->port, $mesh->user);
s/host=kyoto.example.com dbname=app user=repl/$dsn/, s/host=tokyo.example.com dbname=app user=repl/$mesh->dsn(1)/e for $prepare, @join;
is(($mesh->try_sql(1, $prepare))[0], 0, "backup:$prepare");
$mesh->node(1)->backup('kyoto');
$kyoto->init_from_backup($mesh->node(1), 'kyoto', has_streaming => 1);
works('while the copy is away', 1 .. 4);
$kyoto->start;
$kyoto->safe_psql('postgres', 'SELECT pg_promote()');
push @{ $mesh->{nodes} }, $kyoto;
ok($mesh->poll(5, "SELECT progress ~ 'this server is a copy' FROM replication_plugin.nodes WHERE is_local"), 'the copy knows that it is one');
for my $c (@join)
{
	my ($status, $out, $err) = $mesh->try_sql(5, $c);
	is($status, 0, "backup: $c") or diag($err);
}
is($mesh->sql(5, "SELECT node_name || ' ' || state FROM replication_plugin.nodes WHERE is_local"), 'kyoto ready', 'kyoto is a node');
works('with kyoto', 1 .. 5);

# README: its settings, on a server that has no others, and what it has people type into psql there
my (%indented, $title);
for my $line (split /\n/, slurp_file(dirname(__FILE__) . '/../../README.md'))
{
	$title = $1 if $line =~ /^## (.*)/;
	push @{ $indented{$title} }, $1 if $line =~ /^    (.*)/;
}
my $readme = PostgreSQL::Test::Cluster->new('readme');
$readme->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
my @settings = grep { /^[a-z_]+ = / && (!/^(\w+) .*only where the setting exists/ || Mesh::has_setting($1)) } @{ $indented{'Five minutes'} };
cmp_ok(scalar @settings, '>=', 5, 'README has settings');
$readme->append_conf('postgresql.conf', join("\n", @settings) . "\n");
$readme->start;

# Runs lines in psql; each that says what it shows is one assertion. A link that is to rest is waited for.
sub run_psql
{
	my (@lines) = @_;
	my ($script, @expected) = ('');
	for my $line (@lines)
	{
		my ($code, $shows) = $line =~ /^(.*?)\s*(?:-- (?:shows (.*)|.*))?$/;
		push @expected, [ $code, $shows ] if defined $shows;
		$script .= defined $shows ? "\\echo <<\n$code\n\\echo >>\n" : "$code\n";
		$script .= "DO \$\$ BEGIN FOR i IN 1 .. 1800 LOOP EXIT WHEN EXISTS (SELECT FROM replication_plugin.links WHERE state = 'paused');"
			. " PERFORM pg_sleep(0.1); END LOOP; END \$\$;\n" if $code =~ /pause_link/;
	}
	my $file = PostgreSQL::Test::Utils::tempdir_short() . '/readme.sql';
	open my $fh, '>', $file or die "$file: $!";
	print $fh $script;
	close $fh;
	my ($out, $err) = run_command([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-h', $readme->host, '-p', $readme->port,
		'-d', 'postgres', '-f', $file ]);
	is(join("\n", grep { !/NOTICE/ } split /\n/, $err), '', 'README: no errors');
	my @got = $out =~ /^<<\n(.*?)^>>$/msg;
	is(scalar @got, scalar @expected, 'README: all shown');
	for my $i (0 .. $#expected)
	{
		is($got[$i] =~ s/\n\z//r =~ s/\n/ /gr, $expected[$i][1], "README: $expected[$i][0]");
	}
}

my @one_server = @{ $indented{'On one server'} };
my ($end) = grep { $one_server[$_] =~ /leave_group/ } 0 .. $#one_server;
run_psql(@one_server[ 0 .. $end - 2 ]);
run_psql('\c postgres', @one_server[ $end - 1 .. $#one_server ]);
is($readme->safe_psql('postgres', 'SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_replication_origin)'), 0,
	'README: neither slots nor origins are left');
done_testing();
