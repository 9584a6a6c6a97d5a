# Keys of every kind: of types without a hash function, stored out of line, generated, deferrable; and sets of types without a hash function.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;

my $mesh = Mesh->new(2);
my %hashless = (
	int => ['int', 'g'],
	bit => ['bit(32)', 'g::bit(32)'],
	money => ['money', 'g::numeric::money'],
	ltree => ['ext.ltree', "('a.b' || g || '.c')::ext.ltree"],
	varbit => ['varbit', 'substring(g::bit(32) from 10)::varbit'],
	bits => ['bit(32)[]', 'ARRAY[g::bit(32), NULL]'],
	pair => ['pair', "ROW(g::numeric::money, 'x')::pair"],
	words => ['tsvector', "('a' || g || ':1 b:2A')::tsvector"],
	cube => ['ext.cube', "ext.cube(ARRAY[g, 1], ARRAY[0, g])"],
	seg => ['ext.seg', "(g || ' .. ' || (g + 1))::ext.seg"]);
my $setup = <<'SQL';
CREATE SCHEMA ext;
CREATE EXTENSION ltree SCHEMA ext;
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION cube SCHEMA ext;
CREATE EXTENSION seg SCHEMA ext;
CREATE TYPE pair AS (m money, t text);
CREATE TABLE dk (k int PRIMARY KEY DEFERRABLE, v int);
CREATE TABLE "D k" (a int, b int, v int, PRIMARY KEY (a, b) DEFERRABLE INITIALLY DEFERRED) PARTITION BY LIST (a);
CREATE TABLE dk1 PARTITION OF "D k" FOR VALUES IN (1);
CREATE TABLE dk_full (k int PRIMARY KEY DEFERRABLE, v int);
ALTER TABLE dk_full REPLICA IDENTITY FULL;
CREATE TABLE tags (id int PRIMARY KEY, t bit(32)[], m money[], c ext.cube[]);
CREATE TABLE doc (k ext.ltree PRIMARY KEY, v int, body text);
CREATE TABLE doc2 (k ext.citext PRIMARY KEY, v int, body text);
ALTER TABLE doc ALTER body SET STORAGE EXTERNAL;
ALTER TABLE doc2 ALTER body SET STORAGE EXTERNAL;
CREATE TABLE url (k text PRIMARY KEY, v int);
CREATE TABLE url_full (k text PRIMARY KEY, v int, w text);
ALTER TABLE url_full REPLICA IDENTITY FULL;
CREATE TABLE url_none (k text PRIMARY KEY, v int);
ALTER TABLE url_none REPLICA IDENTITY NOTHING;
CREATE TABLE url_index (id int, k text NOT NULL, v int);
CREATE UNIQUE INDEX url_index_k ON url_index (k);
ALTER TABLE url_index REPLICA IDENTITY USING INDEX url_index_k;
CREATE TABLE url_other (id int PRIMARY KEY, k text NOT NULL, v int);
CREATE UNIQUE INDEX url_other_k ON url_other (k);
ALTER TABLE url_other REPLICA IDENTITY USING INDEX url_other_k;
CREATE TABLE url_two (a text, b text, v int, PRIMARY KEY (b, a));
ALTER TABLE url_two ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
CREATE TABLE url_second (k text PRIMARY KEY, v int, u text UNIQUE);
CREATE TABLE url_merge (k text PRIMARY KEY, v int, w int);
CREATE TABLE url_part (p int, k text, v int, PRIMARY KEY (k, p)) PARTITION BY LIST (p);
CREATE TABLE url_part1 PARTITION OF url_part FOR VALUES IN (1);
CREATE TABLE url_part2 PARTITION OF url_part FOR VALUES IN (2);
CREATE TABLE url_ipart (p int NOT NULL, k text NOT NULL, v int) PARTITION BY LIST (p);
CREATE TABLE url_ipart1 PARTITION OF url_ipart FOR VALUES IN (1);
CREATE UNIQUE INDEX url_ipart_k ON url_ipart (k, p);
ALTER TABLE url_ipart REPLICA IDENTITY USING INDEX url_ipart_k;
CREATE TABLE url_ipart2 PARTITION OF url_ipart FOR VALUES IN (2);
CREATE TABLE gk (a int, b int GENERATED ALWAYS AS (a * 10) STORED PRIMARY KEY);
CREATE TABLE gk2 (a text, v int, h text GENERATED ALWAYS AS (md5(a)) STORED, g int GENERATED ALWAYS AS (v + 1) STORED, PRIMARY KEY (h, v));
CREATE TABLE gk_merge (a int, b int GENERATED ALWAYS AS (a * 10) STORED PRIMARY KEY, v int, w int);
CREATE TABLE gk_second (a int, b int GENERATED ALWAYS AS (a * 10) STORED PRIMARY KEY, u int UNIQUE);
SQL
$setup .= 'CREATE TABLE wide (k text PRIMARY KEY, '.join(', ', map { "t$_ text" } 1 .. 12).", v int);\n";
$setup .= "CREATE TABLE h_$_ (k $hashless{$_}[0] PRIMARY KEY, v int);\n" for sort keys %hashless;
$mesh->make_group($setup);

# All nodes get the same rows of these tables, without an error?
sub same
{
	my ($name, @tables) = @_;
	ok($mesh->wait_identical(\@tables, 120, 1, 2), $name)
		or diag($mesh->sql(1, 'SELECT provider, state, last_error FROM replication_plugin.links').$mesh->sql(2, 'SELECT provider, state, last_error FROM replication_plugin.links'));
}

# Seconds of processor time, from what /proc says of a process: what else runs on the machine has no part in them.
sub seconds_in
{
	my @fields = split ' ', $_[0] =~ s/.*\) //r;
	return ($fields[11] + $fields[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# What the link workers that run now have used, by pid; and how much that is more than before.
sub links_used
{
	my @pids = grep { $_ ne '' } map { $mesh->sql($_, 'SELECT pid FROM replication_plugin.link_states()') } 1, 2;
	return map { ($_ => seconds_in(slurp_file("/proc/$_/stat"))) } @pids;
}

sub links_used_since
{
	my (%before) = @_;
	my %now = links_used();
	my $sum = 0;
	$sum += $now{$_} - ($before{$_} // 0) for keys %now;
	return $sum;
}

# ---------- deferrable keys ----------
subtest 'deferrable keys' => sub {
	for my $case ([ 'dk', 'INSERT INTO dk VALUES (1, 1), (2, 2)', 'UPDATE dk SET v = v + 1', 'UPDATE dk SET k = k + 1 WHERE k = 2', 'DELETE FROM dk WHERE k = 1' ],
		[ '"D k"', 'INSERT INTO "D k" VALUES (1, 1, 1), (1, 2, 2)', 'UPDATE "D k" SET v = v + 1', 'UPDATE "D k" SET b = b + 1 WHERE b = 2', 'DELETE FROM "D k" WHERE b = 1' ])
	{
		my ($table, $insert, @writes) = @$case;
		$mesh->sql(1, $insert);
		my (undef, undef, $err) = $mesh->try_sql(1, $writes[0]);
		like($err, qr/rows have no key/, "$table: refused");
		my ($fix) = $err =~ /HINT:.*?(CREATE UNIQUE INDEX .*? REPLICA IDENTITY USING INDEX [^.;]+)/;
		ok($fix, "$table: the hint has commands") or next;
		$mesh->sql($_, $fix) for 1, 2;
		$mesh->sql(1, $_) for @writes;
		same("$table: with what the hint says, changes travel", $table);
		is($mesh->sql(2, "SELECT count(*) FROM $table"), 1, "$table: one row is left");
	}
	$mesh->sql(1, 'INSERT INTO dk_full SELECT g, g FROM generate_series(1, 5) g');
	same('whole rows: inserts', 'dk_full');
	for my $write ('UPDATE dk_full SET k = k + 1', 'UPDATE dk_full SET k = 7 - k', 'BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO dk_full VALUES (3, 9); DELETE FROM dk_full WHERE v < 9 AND k = 3; COMMIT')
	{
		$mesh->sql(1, $write);
		same("whole rows: keys that are the same for a while: $write", 'dk_full');
	}
	is($mesh->sql(2, 'SELECT count(*), sum(k) FROM dk_full'), $mesh->sql(1, 'SELECT count(*), sum(k) FROM dk_full'), 'also by the index');
	# two that stay the same stop the link, until there is room
	$mesh->pause(1, 2);
	$mesh->pause(2, 1);
	$mesh->sql($_, "INSERT INTO dk_full VALUES (100, $_)") for 1, 2;
	$mesh->resume(1, 2);
	$mesh->resume(2, 1);
	ok($mesh->poll($_, "SELECT count(*) FILTER (WHERE last_error ~ 'duplicate key|dk_full_pkey') FROM replication_plugin.links", 1), "node $_: a violation that stays is told") for 1, 2;
	$mesh->sql($_, 'DELETE FROM dk_full WHERE k = 100') for 1, 2;
	$mesh->wait_converged;
	same('room was made', 'dk_full');
	like($mesh->sql(2, q{CREATE TABLE dk3 (k int PRIMARY KEY DEFERRABLE); SELECT note FROM replication_plugin.tables WHERE "table"::text = 'dk3'}), qr/deferrable/, 'a note says it');
	$mesh->sql(1, 'CREATE TABLE dk3 (k int PRIMARY KEY DEFERRABLE)');
};

# ---------- types without a hash function ----------
my $n = 6000;
my $plain;
for my $what ('int', sort grep { $_ ne 'int' } keys %hashless)
{
	my $n = $what =~ /^(int|bit|money|ltree|cube)$/ ? $n : 300;
	my $insert = "INSERT INTO h_$what SELECT $hashless{$what}[1], 1 FROM";
	$mesh->sql(1, "$insert generate_series(1, $n) g");
	same("$what: rows", "h_$what");
	$mesh->pause(1, 2);
	$mesh->pause(2, 1);
	$mesh->sql(2, "DELETE FROM h_$what");
	$mesh->sql(1, "$insert generate_series($n + 1, 2 * $n) g; UPDATE h_$what SET v = 2 WHERE ctid = (SELECT min(ctid) FROM h_$what)");
	my %before = links_used();
	$mesh->resume(1, 2);
	$mesh->resume(2, 1);
	same("$what: $n deletes and as many inserts elsewhere", "h_$what");
	my $t = links_used_since(%before);
	$plain //= $t;
	cmp_ok($t, '<', 3 * $plain + 3, sprintf('%s: in %.1f s', $what, $t));
	$mesh->sql(2, "DELETE FROM h_$what WHERE v = 1; $insert generate_series(101, 110) g; UPDATE h_$what SET k = (SELECT $hashless{$what}[1] FROM generate_series(20, 20) g) WHERE ctid = (SELECT min(ctid) FROM h_$what)");
	same("$what: deletes and inserts by one node", "h_$what");
}

subtest 'equal keys that look different' => sub {
	$mesh->sql(1, "INSERT INTO h_cube VALUES ('(0,1),(2,3)', 7), ('(-0)', 7), ('(0,0,5)', 7); INSERT INTO h_seg VALUES ('0', 7)");
	same('rows', 'h_cube', 'h_seg');
	$mesh->pause(2, 1);
	$mesh->sql(1, "UPDATE h_cube SET k = '(2,1),(0,3)' WHERE k::text = '(0, 1),(2, 3)'; UPDATE h_cube SET k = '(0)' WHERE k::text = '(-0)'; UPDATE h_seg SET v = 8 WHERE v = 7");
	$mesh->sql(2, "DELETE FROM h_cube WHERE v = 7; DELETE FROM h_seg WHERE v = 7");
	$mesh->resume(2, 1);
	same('the later deletes stay', 'h_cube', 'h_seg');
	is($mesh->sql(2, 'SELECT count(*) FROM h_cube WHERE v = 7') + $mesh->sql(1, 'SELECT count(*) FROM h_seg WHERE v > 6'), 0, 'nothing is left');
};

subtest 'values are fetched by keys whose equality is in another schema' => sub {
	my %key = (doc => 'a.b', doc2 => 'Aa');
	for my $table (sort keys %key)
	{
		$mesh->sql(1, "INSERT INTO $table SELECT '$key{$table}', 1, (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 200) g)");
		same("$table: a row", $table);
		$mesh->pause(1, 2);
		$mesh->pause(2, 1);
		$mesh->sql(2, "UPDATE $table SET v = 2, body = 'short'");
		$mesh->sql(1, "UPDATE $table SET v = 3");
		$mesh->resume(1, 2);
		$mesh->resume(2, 1);
		same("$table: an update without its large value, over another one", $table);
		is($mesh->sql(2, "SELECT v, length(body) FROM $table"), '3|6400', "$table: the newer one");
	}
};

subtest 'sets of types without a hash function' => sub {
	$mesh->sql(1, "SELECT replication_plugin.set_column_merge('tags', '$_', 'set')") for qw(t m c);
	$mesh->poll(2, "SELECT merges LIKE '%c set%' FROM replication_plugin.tables WHERE \"table\"::text = 'tags'");
	$mesh->sql(1, "INSERT INTO tags SELECT 1, array_agg(g::bit(32)), array_agg(g::numeric::money), array_agg(ext.cube(g % 50)) FROM generate_series(1, 8000) g");
	same('a set', 'tags');
	my $mine = "; SELECT pg_read_file('/proc/self/stat')";
	my %before = links_used();
	$mesh->pause(1, 2);
	my $two = $mesh->sql(2, "UPDATE tags SET t = t || 100000::bit(32), m = array_remove(m, 7::money) || ARRAY[0::money, NULL, NULL], c = ext.cube(3) || c$mine");
	my $one = $mesh->sql(1, "UPDATE tags SET t = array_remove(t, 5::bit(32)) || 100000::bit(32), m = m || 9000::money, c = (SELECT array_agg(x) FROM unnest(c) x WHERE x::text <> '(4)')$mine");
	$mesh->resume(1, 2);
	same('changed by both', 'tags');
	my $t = seconds_in($one) + seconds_in($two) + links_used_since(%before);
	cmp_ok($t, '<', 15, sprintf('in %.1f s', $t));
	is($mesh->sql(2, "SELECT cardinality(t), 5::bit(32) = ANY (t), coalesce(7::money = ANY (m), false), '(4)' = ANY (c::text[]) FROM tags"), '8000|f|f|f', 'what was removed is gone');
};

# ---------- keys that are stored out of line ----------
my $long = "(SELECT string_agg(md5(n || ' ' || g), '') FROM generate_series(1, 80) g)";
subtest 'keys stored out of line' => sub {
	my @tables = qw(url url_full url_none url_index url_other url_two url_second url_merge url_part url_ipart wide);
	$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('url_merge', 'siblings'); SELECT replication_plugin.set_column_merge('url_merge', 'w', 'counter')");
	$mesh->poll(2, "SELECT merges LIKE '%w counter%' FROM replication_plugin.tables WHERE \"table\"::text = 'url_merge'");
	my $rows = 'FROM generate_series(1, 4) n';
	$mesh->sql(1, <<SQL);
INSERT INTO url SELECT $long, n $rows;
INSERT INTO url_full SELECT $long, n, 'w' $rows;
INSERT INTO url_none SELECT $long, n $rows;
INSERT INTO url_index SELECT n, $long, n $rows;
INSERT INTO url_other SELECT n, $long, n $rows;
INSERT INTO url_two SELECT $long, 'b' || n, n $rows;
INSERT INTO url_second SELECT $long, n, 'u' || n $rows;
INSERT INTO url_merge SELECT $long, n, n $rows;
INSERT INTO url_part SELECT 1 + n % 2, $long, n $rows;
INSERT INTO url_ipart SELECT 1 + n % 2, $long, n $rows;
INSERT INTO wide SELECT (SELECT string_agg(md5(n || ' ' || g), '') FROM generate_series(1, 10) g), ${\ join(', ', map { "(SELECT string_agg(md5('$_' || n || g), '') FROM generate_series(1, 5) g)" } 1 .. 12) }, n $rows;
SQL
	same('rows', @tables);
	is($mesh->sql(1, "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relname LIKE 'url%' AND relkind = 'r' AND pg_relation_size(reltoastrelid) = 0"), '', 'the keys are out of line');
	cmp_ok($mesh->sql(1, "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'wide'"), '>', 0, 'also those of which TOAST took the largest value of the row');
	for my $node (1, 2)
	{
		$mesh->sql($node, join ';', map { "UPDATE $_ SET v = v + 10 WHERE v % 2 = 0" } @tables);
		same("node $node: updates", @tables);
		$mesh->sql($node, "UPDATE url_full SET w = repeat('x', 3000) WHERE v % 2 = 0; UPDATE url_two SET b = b || '.$node' WHERE v % 2 = 0; UPDATE url_part SET p = 3 - p; UPDATE url_ipart SET p = 3 - p;
			UPDATE url_second SET u = u || '.$node'; UPDATE url_merge SET w = w + 1; UPDATE wide SET t1 = 'short', t2 = repeat(t2, 10) WHERE v % 2 = 1");
		same("node $node: other columns, and part of the key", @tables);
		$mesh->sql($node, join ';', map { my $k = /two/ ? 'a' : 'k'; "UPDATE $_ SET $k = 'short $node' WHERE v % 4 = 2" } @tables);
		same("node $node: a short key", @tables);
		$mesh->sql($node, join ';', map { my $k = /two/ ? 'a' : 'k'; "UPDATE $_ SET $k = (SELECT string_agg(md5('node $node ' || g), '') FROM generate_series(1, 80) g) WHERE $k = 'short $node'" } @tables);
		same("node $node: a long key", @tables);
	}
	# a table that comes back
	$mesh->sql(1, "SELECT replication_plugin.exclude_table('url')");
	$mesh->wait_converged;
	$mesh->sql($_, 'ALTER TABLE url REPLICA IDENTITY NOTHING') for 1, 2;
	$mesh->sql(1, "SELECT replication_plugin.include_table('url')");
	$mesh->wait_converged;
	$mesh->sql(1, 'UPDATE url SET v = v + 1000');
	same('a table that was excluded, and got another identity', 'url');

	# concurrent updates
	$mesh->pause(1, 2);
	$mesh->pause(2, 1);
	$mesh->sql($_, join ';', map { "UPDATE $_ SET v = v + 100" } @tables) for 1, 2;
	$mesh->resume(1, 2);
	$mesh->resume(2, 1);
	same('updates by both at once', @tables);
	$mesh->sql(2, join ';', map { "DELETE FROM $_ WHERE v % 2 = 1" } @tables);
	same('deletes', @tables);
	isnt($mesh->sql(1, "SELECT count(*) FROM url"), 4, 'some are gone');
	$mesh->sql(1, 'TRUNCATE '.join(', ', @tables));
	same('TRUNCATE', @tables);
	is($mesh->sql(2, join ' UNION ALL ', map { "SELECT 1 FROM $_" } @tables), '', 'nothing is left');
};

# ---------- generated keys ----------
subtest 'generated keys' => sub {
	my @tables = qw(gk gk2 gk_merge gk_second);
	$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('gk_merge', 'siblings'); SELECT replication_plugin.set_column_merge('gk_merge', 'w', 'counter')");
	$mesh->poll(2, "SELECT merges LIKE '%w counter%' FROM replication_plugin.tables WHERE \"table\"::text = 'gk_merge'");
	$mesh->sql(1, "INSERT INTO gk SELECT generate_series(1, 6); INSERT INTO gk2 SELECT 'a' || g, g FROM generate_series(1, 6) g; INSERT INTO gk_merge (a, v, w) SELECT g, g, g FROM generate_series(1, 6) g;
		INSERT INTO gk_second (a, u) SELECT g, g FROM generate_series(1, 6) g");
	same('inserts', @tables);
	$mesh->sql(2, "UPDATE gk SET a = a + 100 WHERE a % 2 = 0; UPDATE gk2 SET a = a || 'x' WHERE v = 1; UPDATE gk2 SET v = v + 10 WHERE v = 2; UPDATE gk_merge SET v = 7, w = w + 1; UPDATE gk_merge SET a = a + 100 WHERE a = 6; UPDATE gk_second SET u = u + 100");
	same('updates of the key and of other columns', @tables);
	$mesh->sql(1, "DELETE FROM gk WHERE a IN (1, 102); DELETE FROM gk2 WHERE v = 3; DELETE FROM gk_merge WHERE a = 1; DELETE FROM gk_second WHERE a = 1");
	same('deletes', @tables);
	$mesh->pause(1, 2);
	$mesh->pause(2, 1);
	$mesh->sql(1, "UPDATE gk_merge SET v = 8, w = w + 1; UPDATE gk_second SET u = 7 WHERE a = 2; DELETE FROM gk WHERE a = 3; INSERT INTO gk VALUES (50)");
	$mesh->sql(2, "UPDATE gk_merge SET v = 9, w = w + 1; UPDATE gk_second SET u = 7 WHERE a = 3; INSERT INTO gk VALUES (50), (51); UPDATE gk SET a = 52 WHERE a = 3");
	$mesh->resume(1, 2);
	$mesh->resume(2, 1);
	same('by both at once', @tables);
	$mesh->is_same_siblings('gk_merge', 'generated keys');
	$mesh->sql(1, 'DELETE FROM gk_second WHERE u = 7');
	ok($mesh->poll($_, 'SELECT count(*) = 4 AND bool_and(b = a * 10) AND bool_or(u = 7) FROM gk_second'), "node $_: a place is free, the parked row is back") for 1, 2;
	same('with parked rows back', @tables);
	$mesh->sql(2, 'TRUNCATE gk, gk2, gk_merge, gk_second');
	same('TRUNCATE', @tables);
};

# ---------- a key that comes after the first rows ----------
# Rows that were written before ADD PRIMARY KEY are inserted where the key stands already; two rows of one key are told.
subtest 'a key that comes after the first rows' => sub {
	my @tables = qw(late_as late late_unique late_part late_both);
	my $part = 'CREATE TABLE late_part (a int NOT NULL, b int NOT NULL, v text) PARTITION BY LIST (b); CREATE TABLE late_part1 PARTITION OF late_part FOR VALUES IN (1); CREATE TABLE late_part2 PARTITION OF late_part FOR VALUES IN (2)';
	$mesh->pause(1, 2);
	$mesh->pause(2, 1);
	$mesh->sql(1, "BEGIN; CREATE TABLE late_as AS SELECT g AS a, 'v' || g AS v FROM generate_series(1, 2000) g; ALTER TABLE late_as ADD PRIMARY KEY (a); INSERT INTO late_as VALUES (0, 'x'); UPDATE late_as SET v = 'y' WHERE a < 3; COMMIT");
	$mesh->sql(1, "CREATE TABLE late (a int, b text, v text); INSERT INTO late VALUES (1, 'x', '1'), (2, 'x', '1'), (2, 'y', '1'); ALTER TABLE late ADD PRIMARY KEY (b, a); UPDATE late SET v = '2' WHERE b = 'y'; DELETE FROM late WHERE a = 1");
	$mesh->sql(1, "CREATE TABLE late_unique (a int, u int UNIQUE, v text); INSERT INTO late_unique SELECT g, g, 'one' FROM generate_series(1, 5) g; ALTER TABLE late_unique ADD PRIMARY KEY (a)");
	$mesh->sql(1, "CREATE TABLE late_order (a int, v text, w text); INSERT INTO late_order VALUES (1, 'v', 'w'); TRUNCATE late_order; INSERT INTO late_order VALUES (2, 'v', 'w'); ALTER TABLE late_order ADD PRIMARY KEY (a)");
	$mesh->sql(1, "$part; INSERT INTO late_part VALUES (1, 1, 'x'), (1, 2, 'x'), (2, 2, 'y'); ALTER TABLE late_part ADD PRIMARY KEY (a, b); UPDATE late_part SET b = 1 WHERE a = 2");
	$mesh->sql(1, "CREATE TABLE late_both (a int, v text); INSERT INTO late_both VALUES (1, 'of 1'), (2, 'of 1'), (3, 'of 1'); ALTER TABLE late_both ADD PRIMARY KEY (a)");
	$mesh->sql(2, "CREATE TABLE late_as (a int PRIMARY KEY, v text); CREATE TABLE late (a int, b text, v text, PRIMARY KEY (b, a)); CREATE TABLE late_unique (a int PRIMARY KEY, u int UNIQUE, v text);
		CREATE TABLE late_order (w text, v text, a int PRIMARY KEY); $part; ALTER TABLE late_part ADD PRIMARY KEY (a, b); CREATE TABLE late_both (a int PRIMARY KEY, v text)");
	$mesh->sql(2, "INSERT INTO late_both VALUES (1, 'of 2'), (4, 'of 2'); INSERT INTO late_unique VALUES (7, 3, 'two')");
	$mesh->resume(2, 1);
	$mesh->resume(1, 2);
	same('rows from before there was a key', @tables);
	is($mesh->sql($_, 'SELECT a, v, w FROM late_order'), '2|v|w', "node $_: columns in another order, and TRUNCATE") for 1, 2;
	is($mesh->sql(2, 'SELECT count(*), max(v) FROM late_as'), '2001|y', 'those of CREATE TABLE AS');
	is($mesh->sql($_, "SELECT string_agg(v, ', ' ORDER BY a) FROM late_both"), 'of 2, of 1, of 1, of 2', "node $_: of two rows of a key the newer one") for 1, 2;
	is($mesh->sql($_, 'SELECT string_agg(a || v, \' \' ORDER BY a) FROM late_unique'), '1one 2one 4one 5one 7two', "node $_: of two rows of a second key, too") for 1, 2;
	$mesh->sql(1, "UPDATE $_ SET v = v || '!'; DELETE FROM $_ WHERE a = 2") for @tables;
	same('and what is written later', @tables);
	$mesh->sql(1, 'DELETE FROM late_order');

	# nothing gets lost where there are two rows of what is a key here
	$mesh->sql(1, 'CREATE TABLE late_two (a int, v text)');
	$mesh->sql(2, 'CREATE TABLE late_two (a int PRIMARY KEY, v text)');
	for my $insert ("INSERT INTO late_two VALUES (1, 'a'); INSERT INTO late_two VALUES (1, 'b')", "INSERT INTO late_two VALUES (2, 'a'), (2, 'b')")
	{
		my $from = $mesh->sql(2, 'SELECT clock_timestamp()'); # a link's last error stays
		$mesh->sql(1, $insert);
		ok($mesh->poll(2, qq{SELECT last_error ~ 'the key of table "public.late_two" has other columns on the provider than here' AND last_error_at > '$from' FROM replication_plugin.links WHERE provider = 'node1'}),
			'two rows of a key are told');
		is($mesh->sql(2, 'SELECT string_agg(v, \' \' ORDER BY a, v) FROM late_two'), 'a', 'what was there stays');
		$mesh->sql(2, 'ALTER TABLE late_two DROP CONSTRAINT late_two_pkey');
		same('without the key here both come', 'late_two');
		last if $insert =~ /2/;
		$mesh->sql($_, 'ALTER TABLE late_two REPLICA IDENTITY FULL') for 1, 2;
		$mesh->sql(1, "DELETE FROM late_two WHERE v = 'b'");
		same('one of them is deleted', 'late_two');
		$mesh->sql(2, 'ALTER TABLE late_two ALTER a SET NOT NULL; ALTER TABLE late_two REPLICA IDENTITY DEFAULT; ALTER TABLE late_two ADD PRIMARY KEY (a)');
	}
	# changes of whole rows need the same key on both sides
	$mesh->sql(1, "DELETE FROM late_two WHERE v = 'b'");
	same('whole rows', 'late_two');
	$mesh->sql(2, 'ALTER TABLE late_two ADD PRIMARY KEY (a)');
	my $from = $mesh->sql(2, 'SELECT clock_timestamp()');
	$mesh->sql(1, "INSERT INTO late_two VALUES (3, 'a')");
	$mesh->sql(1, "UPDATE late_two SET v = 'z' WHERE a = 3");
	ok($mesh->poll(2, qq{SELECT last_error ~ 'the key of table "public.late_two" has other columns' AND last_error_at > '$from' FROM replication_plugin.links WHERE provider = 'node1'}), 'an update of a whole row is told');
	$mesh->sql(2, 'ALTER TABLE late_two DROP CONSTRAINT late_two_pkey');
	same('until the key is gone here', 'late_two');
};

# ---------- a new node gets all of them, with what is stored beside the rows ----------
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('h_bit', 'siblings')");
$mesh->wait_converged;
$mesh->sql(1, "INSERT INTO gk_merge (a, v, w) SELECT g, g, g FROM generate_series(1, 6) g; INSERT INTO gk SELECT generate_series(1, 6); INSERT INTO gk_second (a, u) VALUES (1, 1), (2, 2);
	INSERT INTO url_merge SELECT $long, n, n FROM generate_series(1, 4) n; INSERT INTO url SELECT $long, n FROM generate_series(1, 4) n; INSERT INTO h_bit SELECT g::bit(32), 5 FROM generate_series(1000001, 1000006) g");
$mesh->wait_converged;
$mesh->pause(1, 2);
$mesh->pause(2, 1);
$mesh->sql($_, "UPDATE gk_merge SET v = 10 * $_, w = w + 1; UPDATE gk_merge SET a = 30 + a WHERE a = $_; UPDATE gk_second SET u = 7 WHERE a = $_; UPDATE url_merge SET v = 10 * $_, w = w + 1;
	UPDATE h_bit SET v = 10 * $_ WHERE v = 5; DELETE FROM h_bit WHERE k = (1000000 + $_)::bit(32)") for 1, 2;
$mesh->resume(1, 2);
$mesh->resume(2, 1);
$mesh->wait_converged;
is($mesh->sql(2, 'SELECT string_agg(DISTINCT "table"::text, \' \' ORDER BY "table"::text) FROM replication_plugin.unresolved WHERE "table" <> \'tags\'::regclass'), 'gk_merge h_bit url_merge', 'there are siblings');
$mesh->add_server;
$mesh->join(3);
$mesh->wait_for_streaming;
$mesh->sql(3, "UPDATE gk_merge SET w = w + 1; UPDATE gk_merge SET v = 99 WHERE a = 3; UPDATE url_merge SET v = 99 WHERE v = (SELECT min(v) FROM url_merge); DELETE FROM gk_second WHERE u = 7; UPDATE gk SET a = a + 10; UPDATE url SET v = v + 1; UPDATE h_bit SET v = 8 WHERE k = 1000003::bit(32)");
$mesh->wait_converged;
$mesh->is_same_siblings($_, "$_, after a join") for qw(gk_merge url_merge h_bit);
$mesh->is_identical('all of it');

done_testing();
