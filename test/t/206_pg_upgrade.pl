# pg_upgrade of a member, by the commands of docs/upgrade.md, while the others take writes: nothing that was acknowledged is lost, and the node has
# all rows of the others afterwards. What else may happen to a node that is upgraded so: its slots are in the way, or nobody has taken it out before;
# and a node that is alone in its group.
use strict;
use warnings;
use Cwd;
use File::Basename;
use IPC::Run;
use Load;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my %install = map { split /=/, $_, 2 } split / /, $ENV{OTHER_VERSIONS} // '';
my ($main) = `postgres --version` =~ /\) (\d+)/;
my @newer = sort { $a <=> $b } grep { $_ > $main && $_ <= 18 } keys %install;
plan skip_all => 'there is no server of a newer version' unless @newer;

my $seed = Mesh::seed();
my $slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'replication\\_plugin%'";

# The commands of docs/upgrade.md: SQL, and the arguments of pg_upgrade.
my ($section) = slurp_file(dirname(__FILE__) . '/../../docs/upgrade.md') =~ /^### In place, by pg_upgrade\n(.*?)(?=^##|\z)/ms;
my ($remove, $count, $rejoin, $wait, $drop) = $section =~ /^ {4,}(SELECT .*;)$/mg;
my ($arguments) = $section =~ /^ {4,}\S*pg_upgrade (.*)$/m;
like($remove . $count . $rejoin . $wait . $drop, qr/remove_node.*pg_replication_slots.*rejoin\(\).*wait_until_ready.*pg_drop_replication_slot/, 'docs/upgrade.md has the commands');

# Makes a server of another version for a node, and has pg_upgrade run, with more arguments. Returns the server, and whether that worked, and what it has said.
sub upgrade
{
	my ($mesh, $i, $install, %opt) = @_;
	my $old = $mesh->node($i);
	my ($major) = `$install/bin/postgres --version` =~ /\) (\d+)/;
	our $n;
	my $new = PostgreSQL::Test::Cluster->new(sprintf('upgraded%d', ++$n), install_path => $install, port => $old->port);
	$new->init(extra => [ '--encoding=UTF8', '--locale=C', $major >= 18 && !has_checksums($old) ? '--no-data-checksums' : () ]);
	$new->append_conf('postgresql.conf', $mesh->settings($install));
	my %place = ('/usr/lib/postgresql/15/bin' => $old->config_data('--bindir'), '/usr/lib/postgresql/18/bin' => "$install/bin",
		'/var/lib/postgresql/15/main' => $old->data_dir, '/var/lib/postgresql/18/main' => $new->data_dir);
	my @arguments = map { $place{$_} // $_ } split / /, $arguments;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $before = getcwd();
	chdir $dir or die;
	my $output = '';
	my $ok = IPC::Run::run([ "$install/bin/pg_upgrade", @arguments, '--socketdir', $dir, @{ $opt{more} || [] } ], '<', '/dev/null', '>', \$output, '2>', \$output);
	chdir $before;
	$output .= join '', map { slurp_file($_) } glob($new->data_dir . '/pg_upgrade_output.d/*/*.txt') if !$ok;
	note($output) if !$ok;
	return ($new, $ok, $output);
}

# True if a server that is stopped has checksums.
sub has_checksums
{
	my ($node) = @_;
	my $program = $node->config_data('--bindir') . '/pg_controldata';
	return `$program @{[ $node->data_dir ]}` =~ /^Data page checksum version: +[1-9]/m;
}

sub stop
{
	my ($mesh, $i) = @_;
	$mesh->close_session($i);
	$mesh->node($i)->stop;
}

# Servers since the minor releases of 2026 note something of columns for themselves, which pg_upgrade to a server of an older minor release cannot restore,
# whatever is in the database. Where the tests run, the newer version may be such a one.
sub forget_notes
{
	my ($mesh, $i) = @_;
	$mesh->try_alone($i, "UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text LIKE '{pg_attver=%}'", $_) for qw(app postgres template1);
}

# The node is this server from here on.
sub start_upgraded
{
	my ($mesh, $i, $new) = @_;
	$mesh->{nodes}[ $i - 1 ] = $new;
	$mesh->start_server($i);
}

my $schema = $Load::schema . <<'SQL';
CREATE TABLE wiki (id int PRIMARY KEY, v text);
CREATE TABLE likes (id int PRIMARY KEY, n int NOT NULL);
CREATE TABLE places (id int PRIMARY KEY, place int UNIQUE);
CREATE TABLE plain (id serial PRIMARY KEY, v text);
CREATE TABLE bag (v text, n int);
CREATE TABLE parts (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu');
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM plain;
ALTER TABLE bag REPLICA IDENTITY FULL;
INSERT INTO likes VALUES (1, 0);
INSERT INTO plain (v) SELECT repeat('x', g) FROM generate_series(1, 2000) g;
SELECT replication_plugin.set_conflict_policy('wiki', 'siblings'), replication_plugin.set_column_merge('likes', 'n', 'counter');
SQL

# Writes of all members that do not know of each other.
sub conflicts
{
	my ($mesh, $id) = @_;
	$mesh->concurrently(map { [ $_, "INSERT INTO wiki VALUES ($id, 'of $_'); UPDATE likes SET n = n + $_; INSERT INTO places VALUES ($id * 10 + $_, $id);
		UPDATE plain SET v = 'by $_' WHERE id = $id; INSERT INTO bag VALUES ('same', $id); INSERT INTO parts VALUES ($id, 'eu', 'of $_')" ] } 1 .. $mesh->size);
}

sub upgrade_under_load
{
	my ($name, $mesh, $install, $has_slots) = @_;
	$mesh->make_group($schema);
	conflicts($mesh, 1);
	my $load = Load->start($mesh, name => $name =~ tr/ /_/r, seed => $seed, nodes => [ 2, 3 ], pause => 0.02);
	my $here = Load->start($mesh, name => $name =~ tr/ /_/r . '_here', seed => $seed + 1, nodes => [ 1 ], pause => 0.02);
	$_->wait_for_more(10) for $load, $here;
	my ($new, $ok, $said);
	if ($has_slots)
	{
		stop($mesh, 1);
		($new, $ok, $said) = upgrade($mesh, 1, $install, more => [ '--check' ]);
		ok(!$ok && $said =~ /logical replication slots that cannot be upgraded/ && $said =~ /_group" has not consumed the WAL yet/, "$name: pg_upgrade --check refuses the slots of a member");
		$new->teardown_node;
		$mesh->start_server(1);
		$here->wait_for_more(5);
	}

	$mesh->sql(2, $remove =~ s/'NODE'/'node1'/r);
	ok($mesh->poll(1, $count =~ s/;$//r, 0), "$name: its slots are gone");
	$mesh->writes_refused(1, 'wiki', 'removed', "$name: it takes no writes");
	$here->stop;
	forget_notes($mesh, 1);
	stop($mesh, 1);
	($new, $ok) = upgrade($mesh, 1, $install, more => [ '--retain', map { ($_, '-c log_min_messages=debug1') } '-o', '-O' ]);
	ok($ok, "$name: pg_upgrade") or BAIL_OUT('pg_upgrade fails');
	my $log = join '', map { slurp_file($_) } glob($new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_server.log');
	like($log, qr/starting background worker process "logical replication launcher"|database system is ready/, "$name: what its servers logged meanwhile");
	unlike($log, qr/replication_plugin (?:launcher|manager)|TRAP|PANIC/, "$name: no worker of the extension ran in them");
	$load->wait_for_more(5);

	start_upgraded($mesh, 1, $new);
	is($mesh->sql(1, 'SELECT count(*) > 0 FROM counters'), 't', "$name: it can be read");
	is($mesh->sql(1, 'SELECT state FROM replication_plugin.nodes WHERE is_local'), 'removed', "$name: it knows that it is out");
	$mesh->writes_refused(1, 'wiki', 'removed', "$name: and takes no writes");
	is($mesh->sql($_, $slots), 2, "$name: node $_ keeps nothing for it") for 2, 3;
	$mesh->sql(1, $rejoin);
	is($mesh->sql(1, $wait), 't', "$name: rejoin()");
	is($mesh->sql(1, "SELECT setting::int / 10000 FROM pg_settings WHERE name = 'server_version_num'"), (split /\./, (`$install/bin/postgres --version` =~ /\) (\S+)/)[0])[0], "$name: on the newer version");
	my $again = Load->start($mesh, name => $name =~ tr/ /_/r . '_again', seed => $seed + 2, nodes => [ 1 ], pause => 0.02);
	$_->wait_for_more(10) for $load, $again;
	$_->stop for $load, $again;
	$mesh->wait_for_streaming;
	conflicts($mesh, 2);
	$mesh->wait_converged;
	$_->check for $load, $here, $again;
	$mesh->is_identical($name);
	$mesh->is_same_siblings('wiki', $name);
	is($mesh->sql($_, $slots), 3, "$name: node $_ has a slot for each of the others, and the group slot") for 1 .. 3;
	is($mesh->sql($_, 'SELECT count(*) FROM replication_plugin.parked_rows'), 4, "$name: node $_ has parked rows") for 1 .. 3;
}

# ---------- as the document says ----------

my $mesh = Mesh->new(3, conf => "replication_plugin.frontier_interval = 200ms\n");
upgrade_under_load("$main to $newer[-1]", $mesh, $install{ $newer[-1] }, $main >= 17);

# ---------- nobody has taken it out ----------

SKIP:
{
	skip 'slots of 17 and newer are in the way', 1 if $main >= 17;
	$mesh->sql(2, "INSERT INTO wiki VALUES (50, 'x')");
	$mesh->wait_converged;
	stop($mesh, 3);
	my ($new, $ok) = upgrade($mesh, 3, $install{ $newer[-1] });
	ok($ok, 'pg_upgrade of a member that nobody has taken out') or BAIL_OUT('pg_upgrade fails');
	$mesh->sql(2, "INSERT INTO wiki VALUES (51, 'meanwhile')");
	# where it does not reach itself by its dsn, and does not wait for others, it is not known yet that it is this node at all
	my $port = $new->port;
	$new->{_port} = PostgreSQL::Test::Cluster::get_free_port();
	$new->append_conf('postgresql.conf', sprintf("port = %d\nreplication_plugin.contact_patience = 1ms\n", $new->port));
	start_upgraded($mesh, 3, $new);
	for (1 .. 20)
	{
		my ($status, undef, $err) = $mesh->try_sql(3, "INSERT INTO wiki VALUES (52, 'lost')");
		next if $status != 0 && $err =~ /is not ready for writes: needs_rejoin/;
		fail("a write on a node that was upgraded: $err");
		last;
	}
	stop($mesh, 3);
	$new->{_port} = $port;
	$new->append_conf('postgresql.conf', sprintf("port = %d\nreplication_plugin.contact_patience = 10s\n", $port));
	start_upgraded($mesh, 3, $new);
	my ($status, undef, $err) = $mesh->try_sql(3, "INSERT INTO wiki VALUES (52, 'lost')");
	ok($status != 0 && $err =~ /node "node3" is not ready for writes: needs_rejoin\n.*HINT:.*rejoin\(\)/s, 'its first write is refused, with what to do') or diag($err);
	$mesh->writes_refused(3, 'wiki', 'needs_rejoin', 'it takes no writes');
	like(slurp_file($new->logfile), qr/node "node3" must join anew: .*timestamps/, 'its log says why');
	ok($mesh->poll(2, "SELECT last_error ~ 'is out of its group: needs_rejoin' FROM replication_plugin.links WHERE provider = 'node3'"), 'the others are told');
	$mesh->rejoin(3);
	$mesh->wait_for_streaming;
	conflicts($mesh, 3);
	$mesh->is_identical('after rejoin()');
	is($mesh->sql($_, $slots), 3, "node $_ has the slots that it needs") for 1 .. 3;
}

# ---------- alone in its group ----------

sub upgrade_alone
{
	my ($name, $mesh, $install, $has_slots) = @_;
	$mesh->make_group($schema);
	$mesh->sql(1, "INSERT INTO wiki VALUES (1, 'before'), (2, 'before'); UPDATE likes SET n = 10");
	ok($mesh->poll(1, $slots, 1), "$name: it has its group slot");
	stop($mesh, 1);
	if ($has_slots)
	{
		my $node = $mesh->node(1);
		my @pg_ctl = ($node->config_data('--bindir') . '/pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile);
		PostgreSQL::Test::Utils::system_or_bail(@pg_ctl, '-o', "-c shared_preload_libraries=''", 'start');
		my (undef, undef, $err) = $mesh->try_alone(1, "UPDATE likes SET n = 20");
		like($err, qr/node "node1" is not ready for writes/, "$name: without the library it takes no writes");
		$mesh->sql(1, $drop, 'app');
		forget_notes($mesh, 1);
		PostgreSQL::Test::Utils::system_or_bail(@pg_ctl, 'stop');
	}
	my ($new, $ok) = upgrade($mesh, 1, $install);
	ok($ok, "$name: pg_upgrade") or BAIL_OUT('pg_upgrade fails');
	start_upgraded($mesh, 1, $new);
	# clients that write as soon as the server takes connections; they are refused for a moment
	my @early = map { $mesh->start_sql(1, "SELECT pg_sleep($_); UPDATE likes SET n = n + 100; UPDATE wiki SET v = 'early'") } 0 .. 1;
	my $at_once = () = map { ($mesh->finish_sql($_))[1] =~ /^(?!.*ERROR)/s ? 1 : () } @early;
	ok($mesh->poll(1, 'UPDATE likes SET n = 10; SELECT 1', 1), "$name: it takes writes");
	note("$at_once of the early clients were taken");
	$mesh->sql(1, "INSERT INTO wiki VALUES (3, 'after'); UPDATE wiki SET v = 'changed' WHERE id = 1; DELETE FROM wiki WHERE id = 2; UPDATE likes SET n = n + 5; UPDATE plain SET id = -id WHERE id < 10");
	ok($mesh->poll(1, $slots, 1), "$name: a group slot is made anew");
	is($mesh->sql(1, 'SELECT state, last_error IS NULL FROM replication_plugin.local_node'), 'ready|t', "$name: it goes on, and took writes from its start");
	$mesh->add_server(install_path => $install);
	$mesh->join(2);
	$mesh->wait_for_streaming;
	conflicts($mesh, 7);
	$mesh->sql(1, 'UPDATE wiki SET v = NULL WHERE id = 1; DELETE FROM wiki WHERE id = 3; UPDATE plain SET id = -id WHERE id < 0; TRUNCATE counters');
	$mesh->wait_converged;
	$mesh->is_identical("$name: a node has joined");
	$mesh->is_same_siblings('wiki', "$name: a node has joined");
	is($mesh->sql($_, 'SELECT n FROM likes'), 18, "$name: node $_: a counter") for 1, 2;
	is($mesh->sql($_, 'SELECT count(*) FROM replication_plugin.out_of_step'), 0, "$name: node $_: nothing got past the triggers") for 1, 2;
}

upgrade_alone("alone, $main to $newer[0]", Mesh->new(1), $install{ $newer[0] }, $main >= 17);

# ---------- from a version whose slots pg_upgrade would take along ----------

if ($main < 17 && @newer > 1)
{
	upgrade_alone("alone, $newer[0] to $newer[-1]", Mesh->new(1, install_path => $install{ $newer[0] }), $install{ $newer[-1] }, 1);
	upgrade_under_load("$newer[0] to $newer[-1]", Mesh->new(3, install_path => $install{ $newer[0] }, conf => "replication_plugin.frontier_interval = 200ms\n"), $install{ $newer[-1] }, 1);
}
done_testing();
