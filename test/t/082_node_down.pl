# A node is killed under load, in a mesh, a ring, a star (its hub) and a tree (an inner node): the others
# get each other's writes without it, by other ways where they need some. When it is back all is as before,
# nothing is lost and nothing twice.
use strict;
use warnings;
use Load;
use Mesh;
use Test::More;
use Time::HiRes qw(time sleep);

my $seed = Mesh::seed();
my $rounds = $ENV{ROUNDS} || 1;
my $patience = 30;
my $connected = "'streaming', 'catching up', 'blocked', 'retrying'";
my $victim = 2;
my $mesh = Mesh->new(4);
$mesh->make_group("$Load::schema CREATE TABLE mark (id text PRIMARY KEY)");
$mesh->wait_converged;
my @survivors = grep { $_ != $victim } 1 .. $mesh->size;

# Where the origins come from, by the views of a survivor and of the node itself.
sub has_reroute
{
	my ($name, $links) = @_;
	for my $l (@$links)
	{
		my ($p, $s) = @$l;
		for my $i ($s, grep { $_ != $s } @survivors)
		{
			ok($mesh->poll($i, "SELECT count(*) FROM replication_plugin.topology WHERE provider = 'node$p' AND subscriber = 'node$s' AND kind = 'reroute'
				AND state IN ($connected)", 1), "$name: node $i shows the re-routing link from node $p to node $s");
		}
	}
}

sub lives_without
{
	my ($name, $links, $reroutes) = @_;
	$mesh->wait_for_links($links);
	my $load = Load->start($mesh, name => $name, seed => $seed);
	$load->wait_for_more(30);
	my $killed = time();
	$mesh->kill9_server($victim);
	$load->wait_for_more(30, @survivors);
	$mesh->sql($_, "INSERT INTO mark VALUES ('$name/$_')") for @survivors;
	for my $i (@survivors)
	{
		my $left = $killed + $patience - time();
		ok($left > 0 && $mesh->poll($i, "SELECT count(*) FROM mark WHERE id LIKE '$name/%'", scalar @survivors, $left),
			sprintf '%s: node %d has what the others wrote after the kill', $name, $i);
	}
	note(sprintf 'figures: %s: survivors have each other\'s writes after %.1f s', $name, time() - $killed);
	has_reroute($name, $reroutes);
	ok($mesh->poll($survivors[0], "SELECT count(*) FROM replication_plugin.topology WHERE kind = 'reroute'", scalar @$reroutes),
		"$name: no other re-routing links");
	$load->stop;
	ok($mesh->wait_identical(\@Load::tables, 4 * $patience, @survivors), "$name: the survivors are equal without the dead node");

	# back again, also under load
	my $second = Load->start($mesh, name => "$name again", seed => $seed + 1);
	$second->wait_for_more(15, @survivors);
	$mesh->start_server($victim);
	my $started = time();
	$mesh->wait_for_links($links, under_load => 1);
	note(sprintf 'figures: %s: links as before %.1f s after the start', $name, time() - $started);
	$second->wait_for_more(15);
	$second->stop;
	$mesh->wait_for_links($links);
	pass("$name: all links as before");
	$mesh->wait_converged;
	for my $i (1 .. $mesh->size)
	{
		ok($mesh->poll($i, "SELECT count(*) FROM replication_plugin.topology WHERE kind = 'reroute'", 0), "$name: node $i shows no re-routing any more");
	}
	$mesh->is_identical($name);
	$load->check;
	$second->check;
}

for my $round (1 .. $rounds)
{
	my $suffix = $round == 1 ? '' : " $round";

	$mesh->sql(3, "SELECT replication_plugin.set_topology('ring', '{node1,node2,node3,node4}')");
	lives_without("ring$suffix", Mesh::ring_links(1 .. 4), [ [ 1, 3 ] ]);

	$mesh->sql(1, "SELECT replication_plugin.set_topology('star', '{node2,node1,node3,node4}')");
	lives_without("star$suffix", Mesh::star_links(2, 1, 3, 4), Mesh::mesh_links(1, 3, 4));

	# 1 - 2 - 3 - 4
	my $tree = [ map { ([ $_, $_ + 1 ], [ $_ + 1, $_ ]) } 1 .. 3 ];
	$mesh->set_links(4, $tree);
	lives_without("tree$suffix", $tree, [ [ 1, 3 ], [ 3, 1 ] ]);

	$mesh->sql(4, "SELECT replication_plugin.set_topology('all_to_all')");
	lives_without("mesh$suffix", Mesh::mesh_links(1 .. 4), []);
}

# two neighbours of a ring at once: what stands in for the first is down as well
$mesh->sql(1, "SELECT replication_plugin.set_topology('ring', '{node1,node2,node3,node4}')");
$mesh->wait_for_links(Mesh::ring_links(1 .. 4));
$mesh->kill9_server($_) for 2, 3;
my $killed = time();
$mesh->sql($_, "INSERT INTO mark VALUES ('two down/$_')") for 1, 4;
for my $i (1, 4)
{
	ok($mesh->poll($i, "SELECT count(*) FROM mark WHERE id LIKE 'two down/%'", 2, $killed + $patience - time()), "two neighbours of a ring down: node $i has both writes");
}
note(sprintf 'figures: two neighbours of a ring down: after %.1f s', time() - $killed);
ok($mesh->poll(1, "SELECT string_agg(provider, ', ') FROM replication_plugin.topology WHERE subscriber = 'node4' AND kind = 'reroute' AND state IN ($connected)",
	'node1'), 'node 4 takes from node 1');
$mesh->start_server($_) for 2, 3;
$mesh->wait_for_links(Mesh::ring_links(1 .. 4));
$mesh->wait_converged;
$mesh->is_identical('two neighbours of a ring down, and back');

done_testing();
