# One group with members of several major versions of PostgreSQL: each version joins by way of each older one, values of all
# kinds of types travel both ways, conflicts, siblings, merges and parked rows come out alike, and a node of an older version
# is refused by a newer one. Then the older members go, under load: that is a major upgrade, without a time in which nobody takes writes.
use strict;
use warnings;
use Load;
use Mesh;
use Test::More;

# what the runner has built besides: "17=DIRECTORY 18=DIRECTORY"
my %install = map { split /=/, $_, 2 } split / /, $ENV{OTHER_VERSIONS} // '';
plan skip_all => 'there is no server of another version' unless %install;

my $seed = Mesh::seed();
my $mesh = Mesh->new(1, conf => "replication_plugin.frontier_interval = 200ms\n");
my ($main) = $mesh->sql(1, 'SHOW server_version_num', 'postgres') =~ /^(\d+)\d{4}$/;
my @versions = sort { $a <=> $b } grep { $_ > $main } keys %install;
$mesh->add_server(install_path => $install{$_}) for @versions;
unshift @versions, $main;
note("versions @versions");
is($mesh->sql($_, 'SHOW server_version_num') =~ s/\d{4}$//r, $versions[ $_ - 1 ], "node $_ is of version $versions[$_ - 1]") for 1 .. @versions;

$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(1)));
$mesh->sql(1, $Load::schema);
$mesh->sql(1, <<'SQL');
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE types (id int PRIMARY KEY, i2 smallint, i8 bigint, f4 real, f8 float8, n numeric, t text, vc varchar(20),
	c char(5), b bytea, ts timestamptz, tn timestamp, tm time, tz timetz, d date, iv interval, u uuid, j json, jb jsonb, ia int[], ta text[],
	r int4range, mr int4multirange, m mood, ma mood[], dom posint, p pair, ip inet, ci cidr, mac macaddr, bl boolean, bi bit(3), vb varbit, x xml,
	mo money, po point, pa path, tv tsvector, tq tsquery, rc regclass, rn regnamespace, rca regtype[], ss information_schema.sql_identifier, lsn pg_lsn,
	g int GENERATED ALWAYS AS (id * 2) STORED, big text);
CREATE TABLE wiki (id int PRIMARY KEY, v text);
SELECT replication_plugin.set_conflict_policy('wiki', 'siblings');
CREATE TABLE likes (id int PRIMARY KEY, n int NOT NULL);
SELECT replication_plugin.set_column_merge('likes', 'n', 'counter');
CREATE TABLE places (id int PRIMARY KEY, place int UNIQUE);
CREATE TABLE parts (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu');
CREATE TABLE parts_us PARTITION OF parts DEFAULT;
CREATE TABLE bag (v text, n int);
ALTER TABLE bag REPLICA IDENTITY FULL;
INSERT INTO likes VALUES (1, 0);
SQL
my @tables = (@Load::tables, qw(types wiki likes places parts bag));

# A row of every type, written on a node.
sub all_types
{
	my ($i, $id) = @_;
	$mesh->sql($i, <<"SQL");
INSERT INTO types VALUES ($id, $i, $i * 1000000000::bigint, $i / 3.0, 'NaN', '123456789.123456789', E'text\\t\\\\ \\n$i', 'vc', 'c', '\\x00ff',
	'2024-02-29 12:00:00.123456+00', '0044-03-15 12:00:00 BC', '23:59:59.999999', '12:00:00+05:30', '0044-03-15 BC', '1 mon 2 days 3.5 secs',
	'00000000-0000-0000-0000-000000000001', '{"a": 1}', '{"b": [1, null]}', '{1,NULL,3}', '{"a,b","c\\"d"}', '[1,5)', '{[1,3),[7,9)}', 'ok', '{sad,happy}',
	5, '(1,"x y")', '10.0.0.0/8', '10.0.0.0/8', '08:00:2b:01:02:03', true, '101', '10101', '<a>b</a>', '12.50', '(1,2)', '[(1,2),(3,4)]', 'a fat cat',
	'fat & cat', 'types', 'public', '{mood,int}', 'name', '16/B374D848', DEFAULT, repeat(md5('$id'), 300));
UPDATE types SET t = t || '!' WHERE id = $id; -- the large value is not sent
SQL
}

# What all members write, conflicts included; ids are free from here on.
my $next = 0;
sub everything
{
	my (@nodes) = @_;
	my $base = ($next += 1000);
	$mesh->pause($_, grep { $_ != $nodes[0] } @nodes) for $nodes[0];
	$mesh->pause($_, $nodes[0]) for @nodes[ 1 .. $#nodes ];
	for my $i (@nodes)
	{
		all_types($i, $base + $i);
		$mesh->sql($i, "INSERT INTO wiki VALUES ($base, 'of $i') ON CONFLICT (id) DO UPDATE SET v = wiki.v || ', $i'; UPDATE likes SET n = n + $i;
			INSERT INTO parts VALUES ($base, 'eu', 'of $i'), ($base + $i, 'us', 'of $i') ON CONFLICT (id, region) DO UPDATE SET v = excluded.v;
			INSERT INTO bag VALUES ('same', 1), ('of $i', $base)");
	}
	$mesh->sql($_, "INSERT INTO places VALUES ($base + $_, $base)") for @nodes[ 0, -1 ]; # one of them is parked
	$mesh->resume($_, grep { $_ != $nodes[0] } @nodes) for $nodes[0];
	$mesh->resume($_, $nodes[0]) for @nodes[ 1 .. $#nodes ];
	$mesh->wait_for_streaming(@nodes);
	$mesh->sql($_, "UPDATE parts SET region = 'us' WHERE region = 'eu' AND id = $base; DELETE FROM bag WHERE v = 'same'") for $nodes[-1];
	$mesh->wait_converged(@nodes);
}

my @here = (1);
all_types(1, 1);

# ---------- each version joins by way of each older one ----------
for my $i (2 .. @versions)
{
	for my $via (1 .. $i - 1)
	{
		$mesh->join($i, $via);
		$mesh->wait_for_streaming(@here, $i);
		everything(@here, $i);
		$mesh->is_identical("version $versions[$i - 1] joined by way of version $versions[$via - 1]", @here, $i);
		next if $via == $i - 1;
		$mesh->fresh_database($i);
		$mesh->wait_for_streaming(@here);
	}
	push @here, $i;
}
$mesh->is_same_siblings('wiki', 'wiki', @here);
is($mesh->sql($_, 'SELECT count(*) FROM replication_plugin.parked_rows'), $next / 1000, "node $_ has parked rows") for @here;

# ---------- an older version is refused ----------
my $late = $mesh->add_server;
my ($status, undef, $err) = $mesh->try_sql($late, sprintf("SELECT replication_plugin.join_group('late', '%s', '%s')", $mesh->dsn($late), $mesh->dsn(scalar @versions)));
ok($status != 0 && $err =~ /ERROR:.*(?:version|PostgreSQL).*HINT: /s, 'a node of an older version cannot join by way of a newer one, and is told what to do');
note($err);
is($mesh->sql($late, 'SELECT count(*) FROM replication_plugin.local_node'), 0, 'nothing is left of it');

# ---------- a major upgrade: the older ones go, under load ----------
my @old = @here;
my $newest = pop @old;
my $load = Load->start($mesh, name => 'upgrade', seed => $seed, nodes => [ $newest ], clients => 2, pause => 0.01);
my $older = Load->start($mesh, name => 'older', seed => $seed + 1, nodes => [ @old ], pause => 0.02);
$load->wait_for_more(20);
$older->wait_for_more(5);
$older->stop; # clients go to the new one
for my $i (@old)
{
	$mesh->sql($i, 'SELECT replication_plugin.leave_group()');
	$load->wait_for_more(5);
}
$load->stop;
$load->check($newest);
$older->check($newest);
is($mesh->sql($newest, 'SELECT string_agg(node_name, $$ $$) FROM replication_plugin.nodes WHERE state = $$ready$$'), "node$newest", 'the newest version is alone, and goes on');
done_testing();
