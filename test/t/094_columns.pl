# Columns that merge: counters, sets, maps and columns by themselves, on four real nodes; also over joins and forgetting.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(4);
for my $sql ("ALTER SYSTEM SET replication_plugin.frontier_interval = '200ms'", 'SELECT pg_reload_conf()')
{
	$mesh->all_sql($sql);
}
$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(1)));
$mesh->sql(1, <<'SQL');
CREATE TABLE posts (id int PRIMARY KEY, title text, likes int, price numeric, tags text[], attrs jsonb, note text);
CREATE TABLE stock (id int PRIMARY KEY, n smallint CHECK (n >= 0));
CREATE TABLE cart (id int PRIMARY KEY, items text[]);
CREATE FUNCTION union_of(older cart, newer cart) RETURNS cart LANGUAGE sql AS $$
	SELECT older.id, ARRAY(SELECT unnest(older.items) UNION SELECT unnest(newer.items) ORDER BY 1) $$;
SQL
$mesh->join(2);
$mesh->join(3);
my @members = (1 .. 3);

# Links of the members stop, so that what follows is concurrent; then all comes together.
sub apart
{
	my ($writes) = @_;
	for my $i (@members)
	{
		$mesh->sql($i, 'SELECT replication_plugin.pause_link(provider) FROM replication_plugin.links');
	}
	$mesh->poll($_, "SELECT bool_and(state = 'paused') FROM replication_plugin.links") || die 'links do not pause' for @members;
	$mesh->sql($_, $writes->{$_}) for sort keys %$writes;
	$mesh->sql($_, 'SELECT replication_plugin.resume_link(provider) FROM replication_plugin.links') for @members;
	$mesh->wait_converged(@members);
}

# What all nodes show: one assertion, and a second that it is the same everywhere.
sub shows
{
	my ($sql, $expected, $name) = @_;
	$mesh->wait_converged(@members);
	is($mesh->sql(1, $sql), $expected, $name);
	my %seen = map { $mesh->sql($_, $sql) => 1 } @members;
	is(scalar keys %seen, 1, "$name: everywhere");
}

$mesh->sql(1, "INSERT INTO posts VALUES (1, 't', 10, 1.5, '{book,soap,dvd}', '{\"a\": 1, \"b\": {\"c\": 2}}', 'n')");
$mesh->wait_converged(@members);
$mesh->sql(1, "SELECT replication_plugin.set_column_merge('posts', c, m) FROM (VALUES ('likes', 'counter'), ('price', 'counter'),
	('tags', 'set'), ('attrs', 'map'), ('note', 'last_write_wins')) v(c, m)");
$mesh->wait_converged(@members);
is($mesh->sql($_, 'SELECT merges FROM replication_plugin.tables WHERE "table" = \'posts\'::regclass'),
	'attrs map, likes counter, note last_write_wins, price counter, tags set', "the view tables shows it on node $_") for @members;

apart({ 1 => "UPDATE posts SET likes = likes + 1, tags = array_remove(tags, 'book'), attrs = attrs || '{\"x\": 1}', price = price + 0.25",
	2 => "BEGIN; UPDATE posts SET likes = likes + 2; UPDATE posts SET likes = likes + 3; COMMIT;
		UPDATE posts SET tags = array_remove(tags, 'dvd'), attrs = jsonb_set(attrs, '{b,c}', '3'), note = 'n2', price = price - 1",
	3 => "UPDATE posts SET likes = likes - 2, tags = tags || '{pen}'::text[], attrs = attrs - 'a', title = 'T'; UPDATE posts SET likes = likes" });
shows('SELECT likes FROM posts', 14, 'all increments count');
shows('SELECT price FROM posts', '0.75', 'of numerics as well');
shows('SELECT tags FROM posts', '{soap,pen}', 'a set: what one removed and the other removed is gone, what was added is there');
shows('SELECT attrs FROM posts', '{"b": {"c": 3}, "x": 1}', 'a map: key by key');
shows('SELECT title || note FROM posts', 'Tn2', 'two columns of two nodes');
apart({ 1 => "UPDATE posts SET tags = array_remove(tags, 'pen')", 2 => "UPDATE posts SET tags = array_remove(tags, 'pen'); UPDATE posts SET tags = tags || '{pen}'::text[]" });
shows('SELECT tags FROM posts', '{soap,pen}', 'an add wins over the concurrent removal of an older add');
apart({ 1 => 'DELETE FROM posts', 2 => "UPDATE posts SET likes = likes + 100", 3 => "UPDATE posts SET likes = likes + 1000, note = 'n3'" });
shows('SELECT likes || note || tags::text FROM posts', '1114n3{soap,pen}', 'a row that comes back has all its columns');
apart({ 1 => "DELETE FROM posts; INSERT INTO posts VALUES (1, 'again', 5, 0, '{new}', '{}', 'n4')", 2 => 'UPDATE posts SET likes = likes + 1' });
like($mesh->sql(1, 'SELECT likes FROM posts'), qr/^6$/, 'a new insert assigns; what it had not seen counts');
apart({ map { $_ => "INSERT INTO posts (id, likes) VALUES (2, 1) ON CONFLICT (id) DO UPDATE SET likes = posts.likes + 1;
	INSERT INTO posts (id, likes) VALUES (2, 1) ON CONFLICT (id) DO UPDATE SET likes = posts.likes + 1" } @members });
shows('SELECT likes FROM posts WHERE id = 2', 4, 'of concurrent inserts one counts, and all increments');
$mesh->is_identical('posts', @members);

# a limit and a constraint that no single write has crossed
$mesh->sql(1, 'INSERT INTO stock VALUES (1, 3), (2, 32000)');
$mesh->wait_converged(@members);
$mesh->sql(2, "SELECT replication_plugin.set_column_merge('stock', 'n', 'counter')");
$mesh->wait_converged(@members);
apart({ 1 => 'UPDATE stock SET n = n - 2 WHERE id = 1; UPDATE stock SET n = n + 700 WHERE id = 2', 2 => 'UPDATE stock SET n = n - 2 WHERE id = 1; UPDATE stock SET n = n + 700 WHERE id = 2' });
shows('SELECT n FROM stock WHERE id = 1', 1, 'a constraint that the merge would break: the newest write shows');
shows('SELECT n FROM stock WHERE id = 2', 32767, 'a sum beyond the type shows its limit');
$mesh->sql(3, 'UPDATE stock SET n = n + 10 WHERE id = 1');
shows('SELECT n FROM stock WHERE id = 1', 9, 'and later all count again');
# (one may be blocked for a moment, by a frontier row of another node)
ok($mesh->poll($_, 'SELECT count(*) FROM replication_plugin.links WHERE state <> \'streaming\' AND state <> \'catching up\'', 0), "node $_: links go on") for @members;

# the cart from which one device removes the book and the other the DVD
$mesh->sql(1, "INSERT INTO cart VALUES (1, '{book,soap,dvd}')");
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('cart', 'handler', 'union_of(cart,cart)')");
$mesh->wait_converged(@members);
my %remove = (1 => "UPDATE cart SET items = array_remove(items, 'book')", 2 => "UPDATE cart SET items = array_remove(items, 'dvd')");
apart(\%remove);
shows('SELECT items FROM cart', '{book,dvd,soap}', 'as union by a handler both are back');
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('cart', 'last_write_wins'), replication_plugin.set_column_merge('cart', 'items', 'set')");
$mesh->sql(1, "UPDATE cart SET items = '{book,soap,dvd}'");
$mesh->wait_converged(@members);
apart(\%remove);
shows('SELECT items FROM cart', '{soap}', 'as set neither is');

# changes are not merged any more, while some are on their way; and then they are again
apart({ 1 => 'UPDATE posts SET likes = likes + 1 WHERE id = 1', 2 => "UPDATE posts SET likes = likes + 10, tags = tags || '{two}'::text[] WHERE id = 1",
	3 => "SELECT replication_plugin.set_column_merge('posts', c, 'none') FROM unnest('{likes,tags,note,attrs}'::text[]) c; UPDATE posts SET title = 'none' WHERE id = 1" });
shows('SELECT likes || title FROM posts WHERE id = 1', '17none', 'increments from before changes replace the value count');
is($mesh->sql($_, 'SELECT merges FROM replication_plugin.tables WHERE "table" = \'posts\'::regclass'), 'price counter', "node $_: the view tables shows what merges") for @members;
$mesh->sql(1, "UPDATE posts SET likes = 20, tags = '{a}', attrs = '{\"a\": 1}' WHERE id = 1");
$mesh->wait_converged(@members);
apart({ 1 => "UPDATE posts SET likes = likes + 1, tags = '{b}' WHERE id = 1", 2 => "UPDATE posts SET likes = likes + 10, tags = '{c}', note = 'nn' WHERE id = 1" });
shows('SELECT likes || note FROM posts WHERE id = 1', '30nn', 'after that the newest write counts');
shows('SELECT tags FROM posts WHERE id = 1', '{b,c}', 'sets are united');
$mesh->sql(2, "UPDATE posts SET tags = '{d}', attrs = '{}' WHERE id = 1");
shows('SELECT tags::text || attrs FROM posts WHERE id = 1', '{d}{}', 'a write replaces what it has seen');
apart({ 1 => 'UPDATE posts SET likes = likes + 100 WHERE id = 1', 2 => 'UPDATE posts SET likes = likes + 1000 WHERE id = 1',
	3 => "SELECT replication_plugin.set_column_merge('posts', 'likes', 'counter'); UPDATE posts SET likes = likes + 1 WHERE id = 1; UPDATE posts SET likes = likes + 1 WHERE id = 1" });
shows('SELECT likes FROM posts WHERE id = 1', 1032, 'increments count again as soon as they are made, beside the newest value');
# two sessions at once: the second one sees what the first one has said
{
	$mesh->sql($_, 'CREATE TABLE beside (id int PRIMARY KEY, n int)') for @members;
	my ($waits, $errors) = $mesh->at_once(1, "set_column_merge('beside', 'n', 'counter')", "set_column_merge('beside', 'n', 'last_write_wins')");
	ok($waits, 'a second session waits');
	like($errors, qr/merges as counter, which cannot become last_write_wins/, 'and is refused');
	$mesh->wait_converged(@members);
}
for my $case ([ "'posts', 'likes', 'last_write_wins'", 'merges as counter, which cannot become last_write_wins' ], [ "'posts', 'tags', 'last_write_wins'", 'merges as set' ])
{
	my ($status, $out, $err) = $mesh->try_sql(1, "SELECT replication_plugin.set_column_merge($case->[0])");
	ok($status != 0 && $err =~ /$case->[1]/, "refused: $case->[0]") or diag($err);
}
$mesh->sql(2, "SELECT replication_plugin.set_column_merge('posts', m[1], m[2]) FROM (VALUES ('{tags,set}'::text[]), ('{attrs,map}'), ('{note,last_write_wins}')) v(m)");
$mesh->wait_converged(@members);
$mesh->is_identical('posts', @members);

# what all have is forgotten; a removal on one node of what was forgotten on others, and concurrently on none
for my $n (@members)
{
	# the group slot moves with what is written
	my $k = 0;
	$mesh->poll($n, "SELECT count(*) >= 3 FROM replication_plugin.merge_settled, (SELECT pg_logical_emit_message(true, 'replication_plugin', '')) m", 't')
		or die 'tables do not settle';
}
for my $n (@members)
{
	$mesh->sql($n, "UPDATE cart SET items = items || '{n$n}'::text[]");
	$mesh->wait_converged(@members);
}
$mesh->sql(1, 'DELETE FROM posts WHERE id = 2');
ok($mesh->poll($_, "SELECT count(s) FROM (SELECT pg_logical_emit_message(true, 'replication_plugin', '')) m
	LEFT JOIN replication_plugin.row_state s ON relid = 'cart'::regclass OR deleted", 0), "node $_ has forgotten what all have") for @members;
apart({ 1 => "UPDATE cart SET items = array_remove(items, 'n2')", 2 => "UPDATE cart SET items = items || '{late}'::text[]" });
shows('SELECT items FROM cart', '{soap,n1,n3,late}', 'and goes on from there');

# a row that goes and comes back over and over: what its counter has to remember does not grow with that
$mesh->sql(1, 'INSERT INTO posts (id, likes) VALUES (5, 0)');
$mesh->sql(1, "DO \$\$ BEGIN FOR i IN 1 .. 100 LOOP
	DELETE FROM posts WHERE id = 5; INSERT INTO posts (id, likes) VALUES (5, i); COMMIT;
	UPDATE posts SET likes = likes + 1 WHERE id = 5; COMMIT; END LOOP; END \$\$");
$mesh->wait_converged(@members);
my $size = "SELECT max(length(state)) FROM replication_plugin.row_state WHERE relid = 'posts'::regclass";
my $grown = $mesh->sql(2, $size);
my $until = $mesh->sql(1, 'SELECT clock_timestamp()');
for my $n (@members)
{
	ok($mesh->poll($n, "SELECT replication_plugin.frontier_ts(stable_seen, 1) > '$until'
		FROM replication_plugin.stable_point, (SELECT pg_logical_emit_message(true, 'replication_plugin', '')) m"), "node $n knows that all have all of it");
}
apart({ map { $_ => 'UPDATE posts SET likes = likes + 1 WHERE id = 5' } @members });
shows('SELECT likes FROM posts WHERE id = 5', 104, 'and it counts as before');
cmp_ok($mesh->sql($_, $size), '<', 1024, "node $_: little is remembered of it; before: $grown bytes") for @members;

# a new node, among siblings, counters and fresh writes
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('posts', 'siblings')");
$mesh->sql(1, "INSERT INTO posts SELECT g, 'old', 0 FROM generate_series(10, 30) g");
$mesh->wait_converged(@members);
apart({ map { $_ => "UPDATE posts SET title = 'by $_', likes = likes + $_ WHERE id BETWEEN 10 AND 15; DELETE FROM posts WHERE id = 15 + $_; UPDATE posts SET likes = likes + 1 WHERE id = 29" } @members });
$mesh->sql(2, "UPDATE posts SET title = 'fresh' WHERE id = 30");
$mesh->join(4);
@members = (1 .. 4);
$mesh->wait_converged(@members);
$mesh->is_same_siblings('posts', 'after the join', @members);
is($mesh->sql(4, 'SELECT count(*) FROM replication_plugin.unresolved WHERE (row_key ->> \'id\')::int BETWEEN 10 AND 15'), 6, 'the new node has the siblings');
apart({ 4 => "UPDATE posts SET title = 'by 4', likes = likes + 40 WHERE id IN (10, 20, 29, 30)", 1 => "UPDATE posts SET likes = likes + 10 WHERE id IN (10, 20, 29)" });
$mesh->is_same_siblings('posts', 'writes of the new node', @members);
$mesh->is_identical('all', @members);
is($mesh->sql(4, 'SELECT string_agg(likes::text, \' \' ORDER BY id) FROM posts WHERE id IN (10, 20, 29, 30)'), '56 50 53 40', 'its counters go on');
is($mesh->sql(1, "SELECT count(*) FROM replication_plugin.siblings('posts', '{\"id\": 30}')"), 1, 'a row that it copied and changed has no false sibling');

for my $case ([ "'posts', 'id', 'counter'", 'part of the primary key' ], [ "'posts', 'title', 'counter'", 'cannot merge as counter' ],
	[ "'posts', 'likes', 'set'", 'cannot merge as set' ], [ "'posts', 'none', 'set'", 'no column' ], [ "'posts', 'likes', 'best'", 'no column merge' ])
{
	my ($status, $out, $err) = $mesh->try_sql(1, "SELECT replication_plugin.set_column_merge($case->[0])");
	ok($status != 0 && $err =~ /$case->[1]/, "refused: $case->[0]") or diag($err);
}
my ($status, $out, $err) = $mesh->try_sql(1, "UPDATE posts SET tags = '{{a},{b}}'");
ok($status != 0 && $err =~ /merges as set/, 'refused: an array of two dimensions') or diag($err);
done_testing();
