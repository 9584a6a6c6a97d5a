# REPACK (CONCURRENTLY) (PostgreSQL 19 and newer) copies rows by a new transaction, from which their versions would be taken: so it is
# refused for replicated tables. REPACK, CLUSTER and VACUUM FULL keep the versions.
use strict;
use warnings;
use Mesh;
use Test::More;

my ($major) = `postgres --version` =~ /\) (\d+)/;
plan skip_all => "PostgreSQL $major has no REPACK: needs 19" if $major < 19;

my $mesh = Mesh->new(2);
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE keyless (v text);
CREATE TABLE alone (id int PRIMARY KEY, v text);
CREATE TABLE part (id int PRIMARY KEY, v text) PARTITION BY LIST (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
ALTER TABLE keyless REPLICA IDENTITY FULL;
INSERT INTO t SELECT g, 'start' FROM generate_series(1, 5) g;
SQL
$mesh->sql(1, "SELECT replication_plugin.exclude_table('alone')");
$mesh->wait_converged;

for my $table ('t', 'part1')
{
	my (undef, undef, $err) = $mesh->try_alone(1, "\\set VERBOSITY verbose\nREPACK (CONCURRENTLY) $table");
	like($err, qr/0A000: table "$table" cannot be repacked concurrently: it is replicated.*HINT:  REPACK without CONCURRENTLY/s, "refused: $table");
}
unlike(($mesh->try_alone(1, 'REPACK (CONCURRENTLY) alone'))[2], qr/it is replicated/, 'an excluded table is its owner\'s');
unlike(($mesh->try_alone(1, 'REPACK (CONCURRENTLY, VERBOSE off) nowhere'))[2], qr/it is replicated/, 'a table that is not there');

# A row that is rewritten keeps its version: the older write, which arrives later, does not win.
for my $command ('REPACK t', 'REPACK (CONCURRENTLY off) t', 'REPACK t USING INDEX t_pkey', 'CLUSTER t USING t_pkey', 'VACUUM FULL t')
{
	$mesh->pause_all;
	$mesh->sql(2, "UPDATE t SET v = '$command, older' WHERE id = 1");
	$mesh->sql(1, "UPDATE t SET v = '$command, newer' WHERE id = 1");
	$mesh->sql(1, "UPDATE t SET v = '$command, older' WHERE id = 2");
	$mesh->sql(2, "UPDATE t SET v = '$command, newer' WHERE id = 2");
	my (undef, undef, $err) = $mesh->try_alone($_, $command) for 1, 2;
	$mesh->resume_all;
	is($mesh->sql($_, 'SELECT string_agg(v, \'; \' ORDER BY id) FROM t WHERE id < 3'), "$command, newer; $command, newer", "$command, node $_: the newer write wins") for 1, 2;
}
$mesh->is_identical('at the end');
done_testing();
