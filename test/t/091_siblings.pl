# Mergeable tables on three real nodes: what shows under each policy, which siblings are kept, and that all nodes agree.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(3);
$mesh->make_group(<<'SQL');
CREATE TABLE cart (id int PRIMARY KEY, items text[]);
CREATE TABLE wiki (id int PRIMARY KEY, title text CHECK (title <> 'forbidden'), body text);
CREATE TABLE plain (id int PRIMARY KEY, title text);
SQL
my $handlers = <<'SQL';
CREATE FUNCTION concat_titles(older wiki, newer wiki) RETURNS wiki LANGUAGE plpgsql AS $$
	BEGIN newer.title := older.title || '+' || newer.title; RETURN newer; END $$;
CREATE FUNCTION raises(older wiki, newer wiki) RETURNS wiki LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no idea'; END $$;
CREATE FUNCTION nothing(older wiki, newer wiki) RETURNS wiki LANGUAGE sql AS $$ SELECT NULL::wiki $$;
CREATE FUNCTION other_key(older wiki, newer wiki) RETURNS wiki LANGUAGE plpgsql AS $$ BEGIN newer.id := 99; RETURN newer; END $$;
CREATE FUNCTION forbidden(older wiki, newer wiki) RETURNS wiki LANGUAGE plpgsql AS $$ BEGIN newer.title := 'forbidden'; RETURN newer; END $$;
SQL
$mesh->all_sql($handlers);

# ---------- the shopping cart of two clients ----------

# A client writes a cart with a context on a node, and then reads its context there.
sub write_cart
{
	my ($id, $node, $items, $context) = @_;
	$mesh->sql($node, "BEGIN; SET LOCAL replication_plugin.causal_context = '$context';
		INSERT INTO cart VALUES ($id, '$items') ON CONFLICT (id) DO UPDATE SET items = excluded.items; COMMIT");
	$mesh->wait_converged;
	return $mesh->sql($node, "SELECT replication_plugin.causal_context('cart', '{\"id\": $id}')");
}

# The carts that are siblings, sorted.
sub carts
{
	my ($id) = @_;
	$mesh->is_same_siblings('cart', "cart $id");
	return $mesh->sql(1, "SELECT string_agg(x, ' ' ORDER BY x COLLATE \"C\") FROM (SELECT (jsonb_populate_record(NULL::cart, \"row\")).items::text
		FROM replication_plugin.siblings('cart', '{\"id\": $id}')) s(x)");
}

$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('cart', 'siblings')");
$mesh->wait_converged;
for my $case ([ 1, 1, 1 ], [ 2, 1, 2 ], [ 3, 2, 3 ])
{
	my ($id, $one, $two) = @$case;
	my $c1 = write_cart($id, $one, '{milk}', 'none');
	is(carts($id), '{milk}', "clients on $one and $two: the first write");
	my $c2 = write_cart($id, $two, '{eggs}', 'none');
	is(carts($id), '{eggs} {milk}', 'a client that has read nothing replaces nothing');
	$c1 = write_cart($id, $one, '{milk,flour}', $c1);
	is(carts($id), '{eggs} {milk,flour}', 'milk and flour replaces milk');
	$c2 = write_cart($id, $two, '{eggs,milk,ham}', $c2);
	is(carts($id), '{eggs,milk,ham} {milk,flour}', 'eggs, milk and ham replaces eggs and milk');
	$c1 = write_cart($id, $one, '{milk,flour,eggs,bacon}', $c1);
	is(carts($id), '{eggs,milk,ham} {milk,flour,eggs,bacon}', 'the last write replaces milk and flour, and eggs');
}
is($mesh->sql(2, 'SELECT count(*) FROM replication_plugin.unresolved'), 3, 'three carts are unresolved');
my $context = $mesh->sql(3, q(SELECT replication_plugin.causal_context('cart', '{"id": 1}')));
$mesh->sql(2, qq(SELECT replication_plugin.resolve('cart', '{"id": 1}', '{"items": ["all"]}', '$context')));
$mesh->wait_converged;
is(carts(1), '{all}', 'resolve() with the context of another node');
$mesh->sql(2, qq(SELECT replication_plugin.resolve('cart', '{"id": 2}', NULL)));
$mesh->wait_converged;
is($mesh->sql(3, q(SELECT count(*) FROM cart WHERE id = 2)) . $mesh->sql(3, q(SELECT count(*) FROM replication_plugin.siblings('cart', '{"id": 2}'))), '00', 'resolve() by a delete');
$mesh->sql(1, "UPDATE cart SET items = '{plain}'");
$mesh->wait_converged;
is($mesh->sql(3, 'SELECT count(*) FROM replication_plugin.unresolved'), 0, 'a plain write replaces all siblings');
is($mesh->sql(3, "SELECT count(*) FROM replication_plugin.row_state WHERE siblings > 1"), 0, 'and nothing is kept of them');
$mesh->is_identical('carts');

# ---------- the title that two users change at once ----------

my $page = 0;

# Changes the title of a new page from A to B on node 1, to C on node 2 and to D on node 3; what shows?
sub change_title
{
	my ($table, @writes) = @_;
	my $id = ++$page;
	@writes = ("UPDATE $table SET title = 'B' WHERE id = $id", "UPDATE $table SET title = 'C' WHERE id = $id") if !@writes;
	s/:id/$id/g for @writes;
	$mesh->sql(1, "INSERT INTO $table (id, title) VALUES ($id, 'A')");
	$mesh->wait_converged;
	$mesh->pause_all;
	$mesh->sql($_ + 1, $writes[$_]) for 0 .. $#writes;
	$mesh->resume_all;
	$mesh->is_same_siblings($table, "page $id") if $table ne 'plain';
	$mesh->is_identical("page $id");
	return $mesh->sql(3, "SELECT title FROM $table WHERE id = $id");
}

# Sets a policy and waits until all have it.
sub policy
{
	my ($policy, $handler) = @_;
	$mesh->sql(1 + $page % 3, "SELECT replication_plugin.set_conflict_policy('wiki', '$policy'" . ($handler ? ", '$handler(wiki,wiki)'" : '') . ')');
	$mesh->wait_converged;
	is($mesh->sql($_, "SELECT policy FROM replication_plugin.tables WHERE \"table\" = 'wiki'::regclass"), $policy, "node $_ has policy $policy") for 1 .. 3;
}

is(change_title('plain'), 'C', 'last write wins on a plain table');
policy('siblings');
is(change_title('wiki'), 'C', 'siblings: the newest shows');
is($mesh->sql(1, "SELECT string_agg(\"row\" ->> 'title', ' ') FROM replication_plugin.siblings('wiki', '{\"id\": $page}')"), 'C B', 'and both are there');
is($mesh->sql(1, "SELECT local_row ->> 'title' || ' ' || (remote_row ->> 'title') || ' ' || resolution || ' ' || policy || ' ' || concurrent
	FROM replication_plugin.conflicts WHERE row_key = '{\"id\": $page}' AND table_name = 'public.wiki'"), 'B C merged siblings true', 'conflicts tells');
my $sibling_page = $page;
policy('first_write_wins');
is($mesh->sql($_, "SELECT title FROM wiki WHERE id = $sibling_page"), 'B', "node $_: another policy shows another sibling") for 1 .. 3;
is(change_title('wiki'), 'B', 'first write wins');
$mesh->sql(2, "SELECT replication_plugin.set_node_priority('{node1,node2}')");
policy('node_priority');
is(change_title('wiki'), 'B', 'node priority: node 1 first');
$mesh->sql(2, "SELECT replication_plugin.set_node_priority('{node2,node1}')");
$mesh->wait_converged;
is($mesh->sql($_, "SELECT title FROM wiki WHERE id = $page"), 'C', "node $_: the priority is another one now") for 1 .. 3;
is(change_title('wiki', "UPDATE wiki SET title = 'B' WHERE id = :id", "UPDATE wiki SET body = 'x' WHERE id = :id", "UPDATE wiki SET title = 'D' WHERE id = :id"),
	'A', 'node priority: node 2 first of three');
policy('handler', 'concat_titles');
is(change_title('wiki', map { "UPDATE wiki SET title = '$_' WHERE id = :id" } qw(B C D)), 'B+C+D', 'a handler that is neither commutative nor associative');
is($mesh->sql(3, "SELECT same FROM replication_plugin.test_handler('wiki', '{\"id\": 1, \"title\": \"x\"}', '{\"id\": 1, \"title\": \"y\"}')"), 'f', 'test_handler() tells');
is(change_title('wiki', "DELETE FROM wiki WHERE id = :id", "UPDATE wiki SET title = 'C' WHERE id = :id"), 'C', 'handler: of a delete and an update the update');
for my $bad ([ 'raises', 'no idea' ], [ 'nothing', 'returned null' ], [ 'other_key', 'key column "id"' ], [ 'forbidden', 'violates check constraint' ])
{
	policy('handler', $bad->[0]);
	is(change_title('wiki'), 'C', "handler $bad->[0]: the newest shows");
	like($mesh->sql(3, "SELECT string_agg(detail, ' ') FROM replication_plugin.conflicts WHERE row_key = '{\"id\": $page}'"), qr/\Q$bad->[1]/, 'and conflicts tells why');
}

# ---------- deletes, keys, and many writes ----------

policy('siblings');
is(change_title('wiki', "DELETE FROM wiki WHERE id = :id", "UPDATE wiki SET title = 'C' WHERE id = :id"), 'C', 'a newer update shows, beside the delete');
is(change_title('wiki', "UPDATE wiki SET title = 'B' WHERE id = :id", "DELETE FROM wiki WHERE id = :id"), '', 'a newer delete shows, beside the update');
is($mesh->sql(1, "SELECT string_agg(coalesce(\"row\" ->> 'title', '-'), ' ') FROM replication_plugin.siblings('wiki', '{\"id\": $page}')"), '- B', 'which is still there');
is(change_title('wiki', "UPDATE wiki SET id = id + 1000 WHERE id = :id", "UPDATE wiki SET id = id + 1000, title = 'C' WHERE id = :id"), '', 'the key is changed on both sides');
is($mesh->sql(3, "SELECT count(*) FROM replication_plugin.siblings('wiki', '{\"id\": " . ($page + 1000) . "}')"), 2, 'there are two of the new key');
is(change_title('wiki', "TRUNCATE wiki", "INSERT INTO wiki VALUES (:id + 2000, 'new')"), '', 'a truncate');
is($mesh->sql(3, 'SELECT count(*) FROM wiki WHERE id > 2000'), 1, 'takes what its node had, no more');
$mesh->sql(1, "INSERT INTO wiki SELECT g, 'x', repeat(md5(g::text), 200) FROM generate_series(5001, 5020) g");
$mesh->wait_converged;
$mesh->pause_all;
$mesh->sql($_, "BEGIN; UPDATE wiki SET title = 'n$_' WHERE id > 5000; SAVEPOINT s; UPDATE wiki SET body = 'gone'; ROLLBACK TO s;
	UPDATE wiki SET title = title || '!' WHERE id > 5000; COMMIT") for 1 .. 3;
$mesh->sql(2, "UPDATE wiki SET title = 'later' WHERE id > 5000") for 1 .. 5;
$mesh->resume_all;
is($mesh->sql(1, 'SELECT count(*) || \' \' || sum(siblings) FROM replication_plugin.unresolved WHERE (row_key ->> \'id\')::int > 5000'), '20 60',
	'as many siblings as concurrent writers');
$mesh->is_same_siblings('wiki', 'large values');
is($mesh->sql(3, "SELECT count(*) FROM wiki WHERE id > 5000 AND body <> repeat(md5(id::text), 200)"), 0, 'unchanged large values are whole');
$mesh->is_identical('many writes');

# no false siblings: each write after seeing the other
$mesh->sql(1, "INSERT INTO wiki VALUES (7000, '0')");
my @players = map {
	$mesh->start_sql($_, "DO \$\$
		DECLARE k int;
		BEGIN
			LOOP
				SELECT title::int INTO k FROM wiki WHERE id = 7000;
				EXIT WHEN k >= 1000;
				IF k % 2 = $_ - 1 THEN
					UPDATE wiki SET title = k + 1 WHERE id = 7000;
				END IF;
				COMMIT;
				PERFORM pg_sleep(0.0005);
			END LOOP;
		END \$\$");
} 1, 2;
is(($mesh->finish_sql($_))[1], '', 'a player sees the end') for @players;
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT title FROM wiki WHERE id = 7000'), 1000, "node $_ has the last of them") for 1 .. 3;
is($mesh->sql($_, "SELECT count(*) FROM replication_plugin.conflicts WHERE row_key = '{\"id\": 7000}'"), 0, "node $_: 1,000 alternating writes are no conflict") for 1 .. 3;

# ---------- a change of policy while plain writes are on their way ----------

$mesh->sql(1, "INSERT INTO plain VALUES (100, 'A'), (101, 'A'), (102, 'A')");
$mesh->wait_converged;
$mesh->pause_all;
$mesh->sql(2, "UPDATE plain SET title = 'plain 2' WHERE id IN (100, 101)");
$mesh->sql(3, "UPDATE plain SET title = 'plain 3' WHERE id IN (100, 102)");
$mesh->sql(1, "UPDATE plain SET title = 'plain 1' WHERE id = 101");
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('plain', 'siblings')");
$mesh->sql(1, "UPDATE plain SET title = 'merged' WHERE id = 102");
$mesh->resume_all;
is($mesh->sql(2, 'SELECT string_agg(title, \' \' ORDER BY id) FROM plain WHERE id >= 100'), 'plain 3 plain 1 merged', 'of plain writes the newest, and a mergeable one over all lesser plain ones');
$mesh->is_same_siblings('plain', 'the change of policy');
$mesh->is_identical('the change of policy');

# ---------- refused ----------

$mesh->sql(1, 'CREATE TABLE no_key (a int); CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY); CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id)');
for my $case (
	[ "set_conflict_policy('no_key', 'siblings')", 'no primary key' ], [ "set_conflict_policy('unlogged', 'siblings')", 'unlogged' ],
	[ "set_conflict_policy('parted', 'siblings')", 'partitioned' ], [ "set_conflict_policy('wiki', 'best')", 'no conflict policy' ],
	[ "set_conflict_policy('wiki', 'handler')", 'needs a handler' ], [ "set_conflict_policy('wiki', 'handler', 'lower(text)')", 'cannot merge rows' ],
	[ "siblings('wiki', '{}')", 'key of table' ], [ "causal_context('no_key', '{}')", 'no siblings|primary key' ])
{
	my ($status, $out, $err) = $mesh->try_sql(1, "SELECT replication_plugin.$case->[0]");
	ok($status != 0 && $err =~ /$case->[1]/, "refused: $case->[0]") or diag($err);
}
my ($status, $out, $err) = $mesh->try_sql(1, "SET replication_plugin.causal_context = 'rubbish'");
ok($status != 0 && $err =~ /invalid value/, 'refused: a context that is none');
($status, $out, $err) = $mesh->try_sql(1, "SET replication_plugin.causal_context = '2:9000000000000000'; UPDATE wiki SET title = 'x' WHERE id = 7000");
ok($status != 0 && $err =~ /does not have all/, 'refused: a context that has not arrived');

is($mesh->sql($_, 'SELECT count(*) FROM replication_plugin.links WHERE last_error IS NOT NULL AND last_error !~ \'paused|has no slot for this node yet|has not told the others of this run|has not answered for\''), 0, "node $_: no link had an error") for 1 .. 3;
done_testing();
