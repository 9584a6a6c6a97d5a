# Topologies of every shape under random load on all nodes: identical everywhere, each transaction applied once
# on each node, all links as the views tell them; then the group comes to rest. Shapes that leave a node
# out are refused. The group grows meanwhile: who joins finds its place in the shape.
use strict;
use warnings;
use List::Util qw(shuffle);
use Load;
use Mesh;
use Test::More;
use Time::HiRes qw(time sleep);

my $seed = Mesh::seed();
my $seconds = $ENV{SECONDS_OF_LOAD} || 4;
my $rest = 5;
my $mesh = Mesh->new(3, conf => "autovacuum = off\ncheckpoint_timeout = 1h\n");
$mesh->make_group($Load::schema);
$mesh->wait_converged;

# Names of nodes as a list for SQL.
sub names { return "'{" . join(',', map { "node$_" } @_) . "}'"; }

sub refused
{
	my ($node, $call, $like, $what) = @_;
	my (undef, undef, $err) = $mesh->try_sql($node, "SELECT replication_plugin.$call");
	like($err, $like, "refused: $what");
}

# What the views say: all links and no others, the same on all nodes; each node gets each origin by one link. Who had to wait for long has
# asked a link for more, for a while. What others say of their links is of the moment when they last said it.
sub views_are_right
{
	my ($name, $links) = @_;
	my @members = 1 .. $mesh->size;
	my $connected = "'streaming', 'catching up', 'blocked', 'retrying'";
	my $expected = join "\n", sort map { "node$_->[0] -> node$_->[1] topology streaming" } @$links;
	for my $i (@members)
	{
		ok($mesh->poll($i, "SELECT string_agg(format('%s -> %s %s %s', provider, subscriber, kind, CASE WHEN state IN ($connected) THEN 'streaming' ELSE state END), E'\\n' ORDER BY provider, subscriber) FROM replication_plugin.topology",
			$expected), "$name: view topology on node $i");
		my $others = join ' ', sort map { "node$_" } grep { $_ != $i } @members;
		ok($mesh->poll($i, "SELECT string_agg(o, ' ' ORDER BY o COLLATE \"C\") FROM replication_plugin.links, unnest(full_origins) o", $others),
			"$name: node $i gets each origin by one link");
		ok($mesh->poll($i, "SELECT string_agg(o, ' ' ORDER BY subscriber, o COLLATE \"C\") FROM replication_plugin.topology, unnest(full_origins) o WHERE subscriber = 'node1'",
			join(' ', sort map { "node$_" } grep { $_ != 1 } @members)), "$name: node $i knows that of node 1");
	}
	my ($provider, $subscriber) = @{ $links->[0] };
	my $label = '(?:streaming|catching up|blocked|retrying)[^"]*';
	like($mesh->sql(1, 'SELECT replication_plugin.topology_graph()'),
		qr/\Agraph LR\n(  n\d\["node\d"\]\n){@{[ scalar @members ]}}(?=(?s:.*)  n$provider -->\|"$label"\| n$subscriber$)(  n\d -->\|"$label"\| n\d\n?){@{[ scalar @$links ]}}\z/m,
		"$name: topology_graph()");
	like($mesh->sql(2, "SELECT replication_plugin.topology_graph('dot')"), qr/\Adigraph topology \{(?s:.*)  n$provider -> n$subscriber \[label="$label"\];(?s:.*)\}\s*\z/m,
		"$name: topology_graph('dot')");
}

# Random load on all nodes, then everything is equal.
sub works
{
	my ($name, $links) = @_;
	$mesh->wait_for_links($links);
	my $load = Load->start($mesh, name => $name, seed => $seed);
	my $end = time() + $seconds;
	$load->wait_for_more(30);
	sleep 0.1 while time() < $end;
	my $total = $load->stop;
	$mesh->wait_converged;
	note("figures: $name: $total transactions");
	$mesh->is_identical($name);
	$load->check;
	$mesh->wait_for_links($links);
	views_are_right($name, $links);
}

# Some seconds in which no frontier row changes: then no user rows are sent, and there is almost no WAL.
sub comes_to_rest
{
	my ($name) = @_;
	my $look = "SELECT (SELECT string_agg(f::text, ' ' ORDER BY node_id) FROM replication_plugin.frontier f) || ' rows '
		|| (SELECT sum(rows) FROM replication_plugin.links) || ' at ' || (pg_current_wal_lsn() - '0/0')::text || ' at ' || clock_timestamp()";
	my $deadline = time() + 150;
	my ($still, %wal);
	do
	{
		my @before = map { $mesh->sql($_, $look) } 1 .. $mesh->size;
		my ($when) = $before[-1] =~ / at ([^a]+)\z/;
		$mesh->poll($mesh->size, "SELECT clock_timestamp() > '$when'::timestamptz + interval '$rest seconds'");
		$still = 1;
		for my $i (1 .. $mesh->size)
		{
			my ($rows0, $wal0) = $before[ $i - 1 ] =~ /^(.*) at (\d+) at /s;
			my ($rows1, $wal1) = $mesh->sql($i, $look) =~ /^(.*) at (\d+) at /s;
			$still = 0 if $rows0 ne $rows1;
			$wal{$i} = $wal1 - $wal0;
		}
	} until $still || time() > $deadline;
	ok($still, "$name: idle, the frontier rows rest, and no rows are sent for $rest s");
	for my $i (1 .. $mesh->size)
	{
		cmp_ok($wal{$i}, '<', 65536, "$name: idle, node $i writes $wal{$i} bytes of WAL in $rest s");
	}
}

# ---------- three nodes ----------

refused(1, "set_topology('circle')", qr/there is no topology "circle"/, 'no such shape');
refused(1, "set_topology('ring', '{node1,node3}')", qr/leaves nodes out: node2/, 'a ring without node 2');
refused(1, "set_topology('star', '{node1,nobody,node2,node3}')", qr/no ready node "nobody"/, 'a node that is not there');
refused(1, "set_topology('ring', '{node1,node2,node3,node2}')", qr/"node2" is named twice/, 'a node twice');

$mesh->sql(2, "SELECT replication_plugin.set_topology('ring')");
works('ring of 3', Mesh::ring_links(1, 2, 3));
refused(3, "drop_link('node1', 'node2')", qr/does not connect all nodes: .*node\d.* cannot be reached/, 'a ring that is open');
refused(1, "add_link('node1', 'node2')", qr/already/, 'a link that is there');
refused(1, "drop_link('node2', 'node1')", qr/no link from "node2" to "node1"/, 'a link that is not there');

# ---------- four ----------

$mesh->add_server;
$mesh->join(4, 2);
$mesh->wait_for_links(Mesh::ring_links(1, 2, 3, 4));
pass('who joins is at the end of the ring');
refused(4, "set_topology('star', '{node2,node1,node3}')", qr/leaves nodes out: node4/, 'a star without the new one');
$mesh->sql(4, "SELECT replication_plugin.set_topology('star', " . names(2, 1, 3, 4) . ')');
works('star of 4', Mesh::star_links(2, 1, 3, 4));
comes_to_rest('star of 4');
refused(2, "drop_link('node2', 'node4')", qr/does not connect all nodes: .*node4.* cannot be reached/, 'a leaf that gets nothing');
refused(2, "drop_link('node4', 'node2')", qr/does not connect all nodes: .*node4/, 'a leaf that tells nothing');

# ---------- five ----------

$mesh->add_server;
$mesh->join(5, 3);
$mesh->wait_for_links(Mesh::star_links(2, 1, 3, 4, 5));
pass('who joins is a leaf of the star');
my @order = shuffle(1 .. 5);
$mesh->sql(1, "SELECT replication_plugin.set_topology('ring', " . names(@order) . ')');
works('ring of 5', Mesh::ring_links(@order));
comes_to_rest('ring of 5');

# 1 - 2, 1 - 3, 3 - 4, 3 - 5
my $tree = [ map { ([ $_->[0], $_->[1] ], [ $_->[1], $_->[0] ]) } [ 1, 2 ], [ 1, 3 ], [ 3, 4 ], [ 3, 5 ] ];
$mesh->set_links(3, $tree);
works('tree', $tree);
refused(5, "drop_link('node1', 'node3')", qr/does not connect all nodes: .*node3, node4, node5/, 'a tree that falls apart, with the names of the half that is lost');
refused(5, "drop_link('node3', 'node1')", qr/does not connect all nodes: .*node\d/, 'a tree of which one half tells nothing');

# 1, 2 and 3, 4, 5, a link from 2 to 3 and one from 4 to 1
my $bridge = [ @{ Mesh::mesh_links(1, 2) }, @{ Mesh::mesh_links(3, 4, 5) }, [ 2, 3 ], [ 4, 1 ] ];
$mesh->set_links(5, $bridge);
works('two meshes and a bridge', $bridge);
comes_to_rest('two meshes and a bridge');
refused(1, "drop_link('node2', 'node3')", qr/does not connect all nodes: .*node3, node4, node5/, 'a bridge with one lane');
# custom stays what it is
$mesh->sql(2, "SELECT replication_plugin.set_topology('custom')");
$mesh->wait_for_links($bridge);
$mesh->sql(2, "INSERT INTO once VALUES ('custom', 1)");
$mesh->wait_converged;
is($mesh->sql($_, "SELECT count(*) FROM once WHERE id = 'custom'"), 1, "custom keeps the links that there are: node $_") for 1, 4, 5;

# two sessions at once: each keeps what the other adds, or takes out
for my $case (["add_link('node1', 'node3')", "add_link('node5', 'node2')"], ["drop_link('node1', 'node3')", "drop_link('node5', 'node2')"], ["add_link('node1', 'node3')", "set_topology('custom')"])
{
	my ($waits, $errors) = $mesh->at_once(1, @$case);
	ok($waits, "@$case: the second one waits");
	is($errors, '', "@$case: both work");
	my %links = map { ($_ => 1) } split /\n/, $mesh->sql(1, "SELECT replace(provider || '>' || subscriber, 'node', '') FROM replication_plugin.topology WHERE kind = 'topology'");
	my $expected = $case->[0] =~ /^add/ ? 1 : 0;
	is($links{'1>3'} // 0, $expected, "@$case: what the first one did stays");
	is($links{'5>2'} // 0, $expected, "@$case: what the second one did, too") if $case->[1] =~ /node5/;
}

done_testing();
