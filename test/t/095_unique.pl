# Rows that a second unique key or an exclusion constraint does not let stand beside each other, written on several nodes at once:
# the newest is shown everywhere, the others are parked, nothing stops, nothing is lost, and all come back.
use strict;
use warnings;
use Mesh;
use Test::More;

my $seed = Mesh::seed();
my $mesh = Mesh->new(4);
$mesh->make_group(<<'SQL');
CREATE TABLE users (id int PRIMARY KEY, name text UNIQUE, body text);
CREATE TABLE booking (id int PRIMARY KEY, room int, during tsrange, EXCLUDE USING gist (during WITH &&) WHERE (room = 1));
CREATE TABLE pair (id int PRIMARY KEY, u text UNIQUE, w text UNIQUE);
CREATE TABLE odd (id int PRIMARY KEY, a text, b text, c text, low text GENERATED ALWAYS AS (lower(c)) STORED UNIQUE);
CREATE UNIQUE INDEX odd_partial ON odd (a) WHERE b = 'on';
CREATE UNIQUE INDEX odd_expression ON odd ((a || '-' || b));
CREATE TABLE lone (id int PRIMARY KEY, a int, b int, UNIQUE NULLS NOT DISTINCT (a, b));
CREATE TABLE seat (id int PRIMARY KEY, n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE handle (id int PRIMARY KEY, name text UNIQUE, body text, hits int);
CREATE TABLE mpair (LIKE pair INCLUDING ALL);
CREATE TABLE late (id int PRIMARY KEY, name text UNIQUE);
CREATE TABLE member_of (id int PRIMARY KEY, user_id int REFERENCES users);
SQL
my @nodes = 1 .. 4;

# What a node shows of a table and has parked, as text.
sub state_of
{
	my ($i, $table) = @_;
	return $mesh->sql($i, "SELECT coalesce((SELECT string_agg(x::text, ' ' ORDER BY x::text COLLATE \"C\") FROM $table x), '') || ' | '
		|| coalesce((SELECT string_agg(row_key ->> 'id', ' ' ORDER BY row_key::text) FROM replication_plugin.parked_rows WHERE \"table\" = '$table'::regclass), '')");
}

# All nodes come to show this. One assertion.
sub shows
{
	my ($table, $expected, $name, @at) = @_;
	@at = @nodes unless @at;
	$mesh->all_look(sub { state_of($_[0], $table) }, $expected, "$name: the same on nodes @at", @at);
}

sub conflicts { return $mesh->sql($_[0], "SELECT count(*) FROM replication_plugin.conflicts WHERE resolution = 'parked' AND table_name = '$_[1]'"); }

# ---------- user names ----------

$mesh->concurrently([ 1, "INSERT INTO users VALUES (1, 'ann', 'first')" ], [ 2, "INSERT INTO users VALUES (2, 'ann', 'second')" ],
	[ 3, "INSERT INTO users VALUES (3, 'ann', repeat('long', 100000))" ]);
is($mesh->sql(4, "SELECT string_agg(id || ' ' || length(body), ',') FROM users"), '3 400000', 'the newest of three with one name is shown');
# the row that is in the way is looked up again where it was parked itself: by the park worker, a moment later
ok($mesh->poll($_, "SELECT string_agg(row_key::text || ' ' || \"constraint\" || ' ' || node || ' ' || blocked_by::text, ', ' ORDER BY row_key::text)
		FROM replication_plugin.parked_rows",
	'{"id": 1} users_name_key node1 {"id": 3}, {"id": 2} users_name_key node2 {"id": 3}', 20), "node $_ has the others parked") for @nodes;
is($mesh->sql(1, 'SELECT string_agg(version, \' \' ORDER BY version) FROM replication_plugin.parked_rows'),
	$mesh->sql(4, 'SELECT string_agg(version, \' \' ORDER BY version) FROM replication_plugin.parked_rows'), 'with the same versions');
cmp_ok(conflicts($_, 'public.users'), '>=', 2, "node $_ tells of the conflicts") for @nodes;
is($mesh->sql(1, "SELECT DISTINCT conflict_type || ' ' || concurrent || ' ' || (detail LIKE '%users_name_key%') FROM replication_plugin.conflicts WHERE resolution = 'parked'"),
	'insert_exists true true', '... and names the constraint');
is($mesh->sql(1, "SELECT body FROM replication_plugin.parked_of(NULL::users) WHERE id = 2"), 'second', 'parked_of() gives parked rows as rows');

$mesh->sql(1, "UPDATE users SET name = 'anna' WHERE id = 3");
is($mesh->poll($_, "SELECT bool_and(body = 'second') FROM users WHERE name = 'ann'"), 1, "renaming the newest brings the second back on node $_") for @nodes;
$mesh->sql(4, 'DELETE FROM users WHERE id = 2');
shows('users', "(1,ann,first) " . $mesh->sql(1, 'SELECT x::text FROM users x WHERE id = 3') . ' | ', 'deleting the second brings the first back');
$mesh->sql(1, "DELETE FROM users WHERE id = 3");
$mesh->wait_converged;

# A parked row is a row: updates and deletes that were under way when it was parked count.
$mesh->concurrently([ 1, "UPDATE users SET body = 'changed' WHERE id = 1" ], [ 2, "UPDATE users SET name = 'old ann' WHERE id = 1" ],
	[ 3, "UPDATE users SET body = 'changed later' WHERE id = 1" ], [ 2, "INSERT INTO users VALUES (5, 'ann', 'new')" ]);
shows('users', '(5,ann,new) | 1', 'an update that meets a row with its old name in use is parked');
$mesh->concurrently([ 1, "INSERT INTO users VALUES (6, 'bob', 'a'); UPDATE users SET body = 'b' WHERE id = 6" ], [ 3, "INSERT INTO users VALUES (7, 'bob', 'c')" ]);
shows('users', '(5,ann,new) (7,bob,c) | 1 6', 'an insert and an update in one stream');
$mesh->sql(2, "DELETE FROM users WHERE id IN (5, 7)");
shows('users', '(1,ann,"changed later") (6,bob,b) | ', 'both come back as they were last');

# A row that was deleted while it was parked does not come back; a key that was written anew neither.
$mesh->concurrently([ 1, "INSERT INTO users VALUES (8, 'cy', 'a')" ], [ 2, "INSERT INTO users VALUES (9, 'cy', 'b')" ]);
shows('users', '(1,ann,"changed later") (6,bob,b) (9,cy,b) | 8', 'one more');
$mesh->sql(3, "INSERT INTO users VALUES (8, 'dan', 'anew')");
shows('users', '(1,ann,"changed later") (6,bob,b) (8,dan,anew) (9,cy,b) | ', 'the key of a parked row is free, and then the parked one is over');
$mesh->concurrently([ 1, "INSERT INTO users VALUES (10, 'eve', 'a')" ], [ 2, "INSERT INTO users VALUES (11, 'eve', 'b')" ]);
shows('users', '(1,ann,"changed later") (11,eve,b) (6,bob,b) (8,dan,anew) (9,cy,b) | 10', 'another one');
$mesh->sql(3, "INSERT INTO users VALUES (10, 'fay', 'x'); DELETE FROM users WHERE id = 10; DELETE FROM users WHERE id = 11");
shows('users', '(1,ann,"changed later") (6,bob,b) (8,dan,anew) (9,cy,b) | ', 'written anew and deleted: it does not come back');
$mesh->concurrently([ 1, "INSERT INTO users VALUES (12, 'gil', 'a')" ], [ 2, "INSERT INTO users VALUES (13, 'gil', 'b')" ]);
$mesh->sql(1, 'TRUNCATE users CASCADE');
shows('users', ' | ', 'TRUNCATE takes parked rows as well');

# A row that came back has the version that it had, not that of its return: an older one that arrives late is parked, not shown.
$mesh->pause_all;
$mesh->sql($_, "INSERT INTO late VALUES ($_, 'x')") for 1 .. 3;
for my $i (2 .. 4)
{
	$mesh->sql($i, "SELECT replication_plugin.resume_link('node$_')") for grep { $_ != $i } 2 .. 4;
}
shows('late', '(3,x) | 2', 'without node 1', 2 .. 4);
$mesh->sql(3, 'DELETE FROM late WHERE id = 3');
shows('late', '(2,x) | ', 'the second comes back', 2 .. 4);
$mesh->resume_all;
shows('late', '(2,x) | 1', 'the first is older, though it came later');

# ---------- values that are handed on ----------

my $before = conflicts(2, 'public.users');
$mesh->sql(1, "INSERT INTO users VALUES (1, 'ann', 'x'), (2, 'bob', 'y')");
$mesh->wait_converged;
$mesh->sql(1, "BEGIN; UPDATE users SET name = 'tmp' WHERE id = 1; UPDATE users SET name = 'ann' WHERE id = 2; UPDATE users SET name = 'bob' WHERE id = 1; COMMIT");
shows('users', '(1,bob,x) (2,ann,y) | ', 'names swapped in one transaction');
$mesh->sql(1, "UPDATE users SET id = 7 WHERE id = 1");
shows('users', '(2,ann,y) (7,bob,x) | ', 'a row that keeps its name under another key');
$mesh->sql(3, "INSERT INTO seat SELECT g, g FROM generate_series(1, 5) g");
$mesh->wait_converged;
$mesh->sql(2, "UPDATE seat SET n = n % 5 + 1");
shows('seat', '(1,2) (2,3) (3,4) (4,5) (5,1) | ', 'a deferrable constraint: all seats move at once');
is(conflicts($_, 'public.seat') + conflicts(2, 'public.users') - $before, 0, "node $_ saw no conflict in that") for @nodes;
$mesh->concurrently([ 1, 'INSERT INTO seat VALUES (6, 9)' ], [ 2, 'INSERT INTO seat VALUES (7, 9)' ]);
shows('seat', '(1,2) (2,3) (3,4) (4,5) (5,1) (7,9) | 6', 'two rows that a deferrable constraint forbids');

# ---------- double booking ----------

$mesh->concurrently([ 1, "INSERT INTO booking VALUES (1, 1, '[2026-01-01 10:00, 2026-01-01 11:00)')" ],
	[ 2, "INSERT INTO booking VALUES (2, 1, '[2026-01-01 10:30, 2026-01-01 11:30)'), (4, 2, '[2026-01-01 10:00, 2026-01-01 12:00)')" ],
	[ 3, "INSERT INTO booking VALUES (3, 1, '[2026-01-01 11:15, 2026-01-01 12:00)')" ]);
my %b = map { /^(\d)/; $1 => "($_)" } ('1,1,"[""2026-01-01 10:00:00"",""2026-01-01 11:00:00"")"', '2,1,"[""2026-01-01 10:30:00"",""2026-01-01 11:30:00"")"',
	'3,1,"[""2026-01-01 11:15:00"",""2026-01-01 12:00:00"")"', '4,2,"[""2026-01-01 10:00:00"",""2026-01-01 12:00:00"")"');
shows('booking', "$b{1} $b{3} $b{4} | 2", 'of three bookings the one in the middle gives way to the newer one, and the first stands');
$mesh->sql(4, 'DELETE FROM booking WHERE id = 3');
shows('booking', "$b{2} $b{4} | 1", 'without the newest, the middle one has the room, and the first gives way');
$mesh->sql(1, 'UPDATE booking SET room = 2 WHERE id = 2');
(my $moved = $b{2}) =~ s/2,1/2,2/;
shows('booking', "$b{1} $moved $b{4} | ", 'in another room it is in nobody\'s way');

# ---------- other kinds of indexes ----------

$mesh->concurrently([ 1, "INSERT INTO odd VALUES (1, 'x', 'on', 'One'), (2, 'x', 'off', 'Two')" ], [ 2, "INSERT INTO odd VALUES (3, 'x', 'on', 'Three'), (4, 'y', 'off', 'TWO')" ]);
shows('odd', '(3,x,on,Three,three) (4,y,off,TWO,two) | 1 2', 'a partial index, an expression, a generated column');
$mesh->sql(3, "UPDATE odd SET b = 'away' WHERE id = 3; UPDATE odd SET c = 'Four' WHERE id = 4");
shows('odd', '(1,x,on,One,one) (2,x,off,Two,two) (3,x,away,Three,three) (4,y,off,Four,four) | ', 'both come back');
$mesh->concurrently([ 1, 'INSERT INTO lone VALUES (1, 5, NULL), (2, NULL, NULL)' ], [ 3, 'INSERT INTO lone VALUES (3, 5, NULL), (4, 6, NULL)' ]);
shows('lone', '(2,,) (3,5,) (4,6,) | 1', 'nulls that are not distinct');

# ---------- chains in all orders ----------

# 1 and 2 have the same u, 2 and 3 the same w; 3 is the newest. So 2 is parked, and 1 is shown, in whatever order node 4 gets them.
my $chain = 0;
for my $order ([ 1, 2, 3 ], [ 1, 3, 2 ], [ 2, 1, 3 ], [ 2, 3, 1 ], [ 3, 1, 2 ], [ 3, 2, 1 ])
{
	my $k = 10 * ++$chain;
	my %row = (1 => "($k + 1, 'u$k', 'w1$k')", 2 => "($k + 2, 'u$k', 'w$k')", 3 => "($k + 3, 'u3$k', 'w$k')");
	$mesh->pause_all;
	$mesh->sql($_, "INSERT INTO pair VALUES $row{$_}") for 1, 2, 3;
	for my $from (@$order)
	{
		$mesh->sql(4, "SELECT replication_plugin.resume_link('node$from')");
		$mesh->poll(4, "SELECT (SELECT count(*) FROM pair WHERE id = $k + $from)
			+ (SELECT count(*) FROM replication_plugin.parked_rows WHERE row_key = jsonb_build_object('id', $k + $from)) = 1") or die "row $from does not come";
	}
	my $alone = $mesh->poll(4, "SELECT string_agg(id::text, ' ' ORDER BY id) = '@{[ $k + 1 ]} @{[ $k + 3 ]}' FROM pair WHERE id / 10 = $chain");
	is($alone, 1, "a chain of three in order @$order, at a node that hears of each alone");
	$mesh->resume_all;
	shows('pair', CORE::join(' ', sort map { my $n = 10 * $_; ("(@{[ $n + 1 ]},u$n,w1$n)", "(@{[ $n + 3 ]},u3$n,w$n)") } 1 .. $chain) . ' | ' .
		CORE::join(' ', map { 10 * $_ + 2 } 1 .. $chain), "chain $chain");
}
$mesh->sql(1, 'DELETE FROM pair WHERE id % 10 = 3');
shows('pair', CORE::join(' ', map { my $n = 10 * $_; "(@{[ $n + 2 ]},u$n,w$n)" } 1 .. $chain) . ' | ' . CORE::join(' ', map { 10 * $_ + 1 } 1 .. $chain),
	'without the newest, the second is shown, and the first is not');
$mesh->sql(2, 'DELETE FROM pair');
shows('pair', CORE::join(' ', map { my $n = 10 * $_; "(@{[ $n + 1 ]},u$n,w1$n)" } 1 .. $chain) . ' | ', 'then the first');

# ---------- foreign keys ----------

$mesh->sql(1, "INSERT INTO users VALUES (20, 'hal', 'x'), (21, 'ida', 'x')");
$mesh->wait_converged;
$mesh->concurrently([ 1, 'DELETE FROM users WHERE id = 20' ], [ 2, 'INSERT INTO member_of VALUES (1, 20), (2, 21)' ]);
is($mesh->sql($_, 'SELECT d.constraint || \' \' || d.table || \' \' || d.row || \' \' || d.missing_in || \' \' || d.missing FROM replication_plugin.dangling_references() d'),
	'member_of_user_id_fkey member_of {"id": 1, "user_id": 20} users {"id": 20}', "node $_ lists the reference that dangles") for 1, 2;

# ---------- crashes ----------

$mesh->concurrently([ 1, "INSERT INTO users VALUES (30, 'kim', 'a')" ], [ 2, "INSERT INTO users VALUES (31, 'kim', 'b')" ]);
my $all = $mesh->sql(1, "SELECT string_agg(x::text, ' ' ORDER BY x::text COLLATE \"C\") FROM users x WHERE id < 30");
$mesh->kill9_server(3);
$mesh->sql(1, 'DELETE FROM users WHERE id = 31');
$mesh->start_server(3);
$mesh->wait_converged;
my @want = sort(split(/(?<=\)) /, $all), '(30,kim,a)');
shows('users', "@want | ", 'a node that was killed has its parked rows, and they come back there');

# ---------- mergeable tables ----------

$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('handle', 'siblings'), replication_plugin.set_column_merge('handle', 'hits', 'counter'),
	replication_plugin.set_conflict_policy('mpair', 'siblings')");
$mesh->sql(1, "INSERT INTO handle VALUES (1, 'x', 'old', 10)");
$mesh->wait_converged;
$mesh->concurrently([ 3, "UPDATE handle SET name = 'z' WHERE id = 1" ], [ 1, "UPDATE handle SET body = 'a', hits = hits + 1 WHERE id = 1" ],
	[ 2, "UPDATE handle SET body = 'b', hits = hits + 5 WHERE id = 1" ], [ 3, "INSERT INTO handle VALUES (2, 'x', 'new', 0)" ]);
shows('handle', '(2,x,new,0) | 1', 'a row with siblings is parked');
is($mesh->sql($_, q{SELECT string_agg(("row" ->> 'name') || ' ' || ("row" ->> 'body'), ', ') FROM replication_plugin.siblings('handle', '{"id": 1}')}),
	'x b, x a, z old', "... with all of them, on node $_") for @nodes;
$mesh->sql(4, 'DELETE FROM handle WHERE id = 2');
shows('handle', '(1,x,b,16) | ', 'it comes back with all that was counted');
is($mesh->sql($_, 'SELECT siblings FROM replication_plugin.unresolved WHERE "table" = \'handle\'::regclass'), 3, "... and its siblings, on node $_") for @nodes;
$mesh->concurrently([ 1, 'UPDATE handle SET hits = hits + 1 WHERE id = 1' ], [ 2, 'UPDATE handle SET hits = hits + 2 WHERE id = 1' ],
	[ 3, "UPDATE handle SET name = 'w' WHERE id = 1; INSERT INTO handle VALUES (3, 'x', 'newer', 7)" ]);
shows('handle', '(1,w,b,19) (3,x,newer,7) | ', 'counting goes on, and a row that gets out of the way is shown');
$mesh->concurrently([ 1, "UPDATE handle SET name = 'v' WHERE id = 1" ], [ 2, "UPDATE handle SET name = 'v' WHERE id = 3" ]);
shows('handle', '(3,v,newer,7) | 1', 'an update of a mergeable row that is newer');
$mesh->sql(2, "INSERT INTO handle VALUES (1, 'mine', 'anew', 100)");
shows('handle', '(1,mine,anew,100) (3,v,newer,7) | ', 'the key of a parked row is free');
$mesh->concurrently([ 1, "INSERT INTO handle VALUES (4, 'q', 'a', 1)" ], [ 2, "INSERT INTO handle VALUES (5, 'q', 'b', 2)" ]);
$mesh->sql(3, "SELECT replication_plugin.set_conflict_policy('handle', 'first_write_wins')");
shows('handle', '(1,mine,anew,100) (3,v,newer,7) (5,q,b,2) | 4', 'another policy');
$mesh->sql(3, 'TRUNCATE handle');
shows('handle', ' | ', 'TRUNCATE takes parked rows of a mergeable table as well');

# A table that becomes mergeable with rows that are parked.
$mesh->concurrently([ 1, "INSERT INTO users VALUES (40, 'lea', 'a')" ], [ 2, "INSERT INTO users VALUES (41, 'lea', 'b')" ]);
my $shown = $mesh->sql(1, "SELECT string_agg(x::text, ' ' ORDER BY x::text COLLATE \"C\") FROM users x WHERE id <> 41");
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('users', 'siblings')");
$mesh->wait_converged;
$mesh->sql(1, 'DELETE FROM users WHERE id = 41');
@want = sort(split(/(?<=\)) /, $shown), '(40,lea,a)');
shows('users', "@want | ", 'a table that became mergeable meanwhile');

# ---------- at random, also through a hub, and with a new member ----------

# Keys belong to nodes, so the last acknowledged write of a key is its state; writes are made one after the other, so later is newer.
my (%live, $time);
sub random_write
{
	my ($table) = @_;
	my $i = 1 + int rand 4;
	my $id = 1000 + 10 * $i + int rand 4;
	my ($u, $w) = (qw(a b c d)[ rand 4 ], qw(p q r s)[ rand 4 ]);
	my $live = $live{$table} ||= {};
	my $kind = rand;
	my ($sql, $row);
	if ($kind < 0.3) { $sql = "DELETE FROM $table WHERE id = $id RETURNING id"; }
	elsif ($kind < 0.8) { $sql = "INSERT INTO $table VALUES ($id, '$u', '$w') ON CONFLICT (id) DO UPDATE SET u = excluded.u, w = excluded.w RETURNING id"; $row = [ $u, $w ]; }
	else { $sql = "UPDATE $table SET w = '$w' WHERE id = $id RETURNING id"; $row = [ $live->{$id} ? $live->{$id}{row}[0] : '', $w ]; }
	my ($failed, $out) = $mesh->try_sql($i, $sql);
	return if $failed || $out eq '';    # its own unique keys say no, or it does not see the row
	if ($row) { $live->{$id} = { row => $row, time => ++$time }; }
	else { delete $live->{$id}; }
}

sub random_writes
{
	my ($n) = @_;
	random_write($_ % 2 ? 'pair' : 'mpair') for 1 .. $n;
}

# What should be shown: from the newest down, what clashes with nothing that is.
sub model
{
	my ($live) = @_;
	my (%u, %w, @shown, @parked);
	for my $id (sort { $live->{$b}{time} <=> $live->{$a}{time} } keys %$live)
	{
		my ($u, $w) = @{ $live->{$id}{row} };
		if ($u{$u} || $w{$w}) { push @parked, $id; next; }
		$u{$u} = $w{$w} = 1;
		push @shown, "($id,$u,$w)";
	}
	return CORE::join(' ', sort @shown) . ' | ' . CORE::join(' ', sort @parked);
}

$mesh->sql(1, 'DELETE FROM pair');
$mesh->wait_converged;
for my $round (1 .. ($ENV{ROUNDS} || 12))
{
	if ($round == 7)
	{
		$mesh->sql(1, "SELECT replication_plugin.set_topology('star', ARRAY['node4', 'node1', 'node2', 'node3', 'node5'])");
		$mesh->wait_for_links(Mesh::star_links(4, 1, 2, 3, 5));
	}
	$mesh->pause_all if $round % 3;
	random_writes(50);
	if ($round == 5)
	{
		# a new member, in the middle of that; it copies a row that is newer than one that comes later
		$mesh->sql(2, "INSERT INTO late VALUES (60, 'j')");
		$mesh->sql(1, "INSERT INTO late VALUES (61, 'j')");
		my $new = $mesh->add_server;
		$mesh->start_join($new, 1);
		$mesh->poll($new, "SELECT state IN ('joining: indexes', 'joining: catching up') FROM replication_plugin.local_node") or die 'no join';
		random_writes(30);
		push @nodes, $new;
		$mesh->sql($_, 'SELECT replication_plugin.resume_link(provider) FROM replication_plugin.links') for 1 .. 4;
		is($mesh->sql($new, "SELECT replication_plugin.wait_until_ready('120 seconds')"), 't', 'a new member, while rows are in each other\'s way');
		shows('late', '(2,x) (61,j) | 1 60', 'a copied row has its version');
	}
	if ($round % 4 == 0)
	{
		my $victim = 1 + int rand 4;
		$mesh->kill_one($victim, 'link');
		$mesh->poll($victim, 'SELECT 1', 1, 60) or die "node $victim does not come back";
	}
	$mesh->resume_all;
	shows($_, model($live{$_}), "round $round of random writes, table $_ (seed $seed)") for 'pair', 'mpair';
}
$mesh->is_identical('in the end');

# A member that joins when all others have rows in each other's way knows their versions: of what is shown, too, though no member lacks it any more.
my @pairs = ('pair', 'mpair');
$mesh->sql(1, "TRUNCATE $_") for @pairs;
$mesh->wait_converged;
$mesh->pause_all;
for my $w ([ 2, "(2002, 'c', 's')" ], [ 1, "(2001, 'a', 's')" ], [ 3, "(2003, 'c', 'z')" ])
{
	$mesh->sql($w->[0], "INSERT INTO $_ VALUES $w->[1]") for @pairs;
}
$mesh->resume_all;
shows($_, '(2001,a,s) (2003,c,z) | 2002', "before a join, table $_") for @pairs;
$mesh->wait_converged;
ok($mesh->poll(1, 'SELECT p.stable_xid::text::bigint > x.xid FROM replication_plugin.stable_point p,
		(SELECT max(xmin::text::bigint) AS xid FROM (SELECT xmin FROM pair UNION ALL SELECT xmin FROM mpair) r) x'), 'all members have them');
my $last = $mesh->add_server;
$mesh->start_join($last, 1);
is($mesh->sql($last, "SELECT replication_plugin.wait_until_ready('120 seconds')"), 't', 'one more member');
push @nodes, $last;
shows($_, '(2001,a,s) (2003,c,z) | 2002', "after a join, table $_") for @pairs;
$mesh->sql(1, "DELETE FROM $_ WHERE id = 2003") for @pairs;
shows($_, '(2001,a,s) | 2002', "something else is still in the way, table $_") for @pairs;
$mesh->sql(1, "DELETE FROM $_ WHERE id = 2001") for @pairs;
shows($_, '(2002,c,s) | ', "then it comes back, table $_") for @pairs;
$mesh->is_identical('after the join');
# (what is tried again by itself for some seconds, where the processor is short, has not stopped)
is($mesh->sql($_, "SELECT count(*) FROM replication_plugin.links WHERE last_error LIKE '%pair%' AND last_error !~ '^(deadlock detected|could not (serialize|obtain lock)|canceling statement due to lock timeout)'"),
	0, "no link of node $_ stopped") for @nodes;
done_testing();
