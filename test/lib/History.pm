# A history as data: a list of steps, made from a seed (History::Maker), run on a Mesh (History::Runner), checked against what every
# node noted of its own writes (History::Check), and cut down to a short one when it fails (History::Reducer).
#
# As text a step is a line: words, and for SQL a colon and statements, with "; " between them (and nowhere else):
#   tx NODE.SESSION: ...                one transaction; the next step begins when it has ended
#   go NODE.SESSION: ...                the same, but the next step begins at once
#   do NODE.SESSION: ...                one statement outside of a transaction block
#   prepare NODE.SESSION NAME: ...      a transaction that is prepared
#   finish NODE NAME commit|rollback
#   pause SUBSCRIBER PROVIDER, resume SUBSCRIBER PROVIDER, pause_all, resume_all
#   cut NODE, heal NODE                 by a proxy: from all others, both ways
#   kill NODE link|walsender|group|manager|session
#   crash NODE, restart NODE fast|immediate
#   clock NODE SECONDS                  ahead of this machine's
#   topology NODE KIND NODE,NODE,...
#   sleep SECONDS
#   check                               all faults end; when all nodes have everything, all of it is checked
package History;

use strict;
use warnings;

# Lines to steps: { verb, args => [words], sql => [statements] }.
sub parse
{
	my ($text) = @_;
	my @steps;
	for my $line (split /\n/, $text)
	{
		next if $line =~ /^\s*(#|$)/;
		my ($head, $sql) = split /: /, $line, 2;
		my ($verb, @args) = split ' ', $head;
		push @steps, { verb => $verb, args => \@args, sql => [ defined $sql ? split /; /, $sql : () ] };
	}
	return @steps;
}

sub text
{
	return join '', map { join(' ', $_->{verb}, @{ $_->{args} }) . (@{ $_->{sql} } ? ': ' . join('; ', @{ $_->{sql} }) : '') . "\n" } @_;
}

# ---------- the tables that a history writes ----------

# Columns of the tables that hold everything. Each but the key can be NULL.
my $wide = <<'SQL';
id int PRIMARY KEY, a text, b text, n int, x numeric, d double precision, e mood, p percent, c pair, arr int[], doc jsonb, at timestamptz, raw bytea, u uuid,
flag boolean, r int4range, tags text[], size int GENERATED ALWAYS AS (length(a)) STORED
SQL

our @policies = qw(sib hand_sql hand_pl prio first);
our %policy = (sib => 'siblings', hand_sql => 'handler', hand_pl => 'handler', prio => 'node_priority', first => 'first_write_wins', merged_sib => 'siblings', uniq_sib => 'siblings');
our @wide = ('plain', @policies);
our @merged = qw(merged merged_sib);
our %merge = (n => 'counter', x => 'counter', tags => 'set', attrs => 'map', note => 'last_write_wins');

# Tables by what is known of their rows at rest. newest: the row is the newest write of its key. contested: that, or the newest write is parked.
our @newest = qw(plain part two_keys identity parent child sib);
our @contested = qw(uniq uniq_sib booking);
our @keep_siblings = (@policies, 'merged_sib', 'uniq_sib');
our %key = (part => ['id'], two_keys => [ 'k1', 'k2' ], identity => [ 'a', 'b' ]);
sub key { return @{ $key{ $_[0] } || ['id'] }; }

my $types = <<'SQL';
CREATE EXTENSION btree_gist;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE pair AS (x int, y text);
CREATE FUNCTION big(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE
	AS $$ SELECT left(string_agg(md5(seed::text || g), ''), n) FROM generate_series(0, n / 32) g $$;
SQL

# What notes each write that a node makes itself, beside the row: key and checksum, none of a delete; and which siblings a write found.
# The table is not replicated.
my $noting = <<'SQL';
CREATE SCHEMA noted;
CREATE TABLE noted.write (seq bigserial PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), tab text, key text, op text, sum text, found text, context text);
CREATE FUNCTION noted.key_of("row" jsonb, tab text) RETURNS text LANGUAGE sql IMMUTABLE
	AS $$ SELECT CASE tab WHEN 'two_keys' THEN "row" ->> 'k1' || '/' || ("row" ->> 'k2') WHEN 'identity' THEN "row" ->> 'a' || '/' || ("row" ->> 'b') ELSE "row" ->> 'id' END $$;
CREATE FUNCTION noted.write() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	tab text := tg_argv[0];
	old_key text := CASE WHEN tg_op <> 'INSERT' THEN noted.key_of(to_jsonb(old), tab) END;
	new_key text := CASE WHEN tg_op <> 'DELETE' THEN noted.key_of(to_jsonb(new), tab) END;
BEGIN
	IF old_key IS DISTINCT FROM new_key AND tg_op <> 'INSERT' THEN
		INSERT INTO noted.write (tab, key, op) VALUES (tab, old_key, 'DELETE');
	END IF;
	IF tg_op <> 'DELETE' THEN
		INSERT INTO noted.write (tab, key, op, sum) VALUES (tab, new_key, CASE WHEN old_key = new_key THEN tg_op ELSE 'INSERT' END, md5((to_jsonb(new) - 'size')::text));
	END IF;
	RETURN NULL;
END $$;
CREATE FUNCTION noted.find() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	row_key text := CASE WHEN tg_op = 'INSERT' THEN to_jsonb(new) ->> 'id' ELSE to_jsonb(old) ->> 'id' END;
BEGIN
	INSERT INTO noted.write (tab, key, op, found, context)
		SELECT tg_argv[0], row_key, 'FIND', (SELECT string_agg(s.version, ' ') FROM replication_plugin.siblings(tg_relid, jsonb_build_object('id', row_key)) s),
			current_setting('replication_plugin.causal_context', true);
	IF tg_op = 'UPDATE' AND to_jsonb(new) ->> 'id' <> row_key THEN
		INSERT INTO noted.write (tab, key, op, found, context)
			SELECT tg_argv[0], to_jsonb(new) ->> 'id', 'FIND', (SELECT string_agg(s.version, ' ') FROM replication_plugin.siblings(tg_relid, jsonb_build_object('id', to_jsonb(new) -> 'id')) s),
				current_setting('replication_plugin.causal_context', true);
	END IF;
	RETURN CASE WHEN tg_op = 'DELETE' THEN old ELSE new END;
END $$;
CREATE TABLE noted.added (id int, what text, value text);
CREATE FUNCTION noted.add() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO noted.added VALUES (new.id, 'n', new.n - old.n), (new.id, 'x', new.x - old.x);
	INSERT INTO noted.added SELECT new.id, 'tags', t FROM unnest(new.tags) t WHERE t <> ALL (old.tags);
	INSERT INTO noted.added SELECT new.id, 'attrs', k FROM jsonb_object_keys(new.attrs - ARRAY(SELECT jsonb_object_keys(old.attrs))) k;
	RETURN NULL;
END $$;
CREATE FUNCTION noted.truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF tg_argv[1] = 'siblings' THEN
		EXECUTE format('INSERT INTO noted.write (tab, key, op, found, context)
			SELECT %L, id::text, ''FIND'', (SELECT string_agg(s.version, '' '') FROM replication_plugin.siblings(%L, jsonb_build_object(''id'', id)) s), current_setting(''replication_plugin.causal_context'', true)
			FROM (SELECT id FROM %s UNION ALL SELECT id FROM replication_plugin.parked_of(NULL::%s)) k',
			tg_argv[0], tg_relid::regclass, tg_relid::regclass, tg_relid::regclass);
	END IF;
	EXECUTE format('INSERT INTO noted.write (tab, key, op) SELECT %L, noted.key_of(to_jsonb(t), %L), ''DELETE'' FROM %s t', tg_argv[0], tg_argv[0], tg_relid::regclass);
	-- parked rows are gone as well
	EXECUTE format('INSERT INTO noted.write (tab, key, op) SELECT %L, noted.key_of(to_jsonb(t), %L), ''DELETE'' FROM replication_plugin.parked_of(NULL::%s) t', tg_argv[0], tg_argv[0], tg_relid::regclass);
	RETURN NULL;
END $$;
SQL

sub note_writes
{
	my ($table) = @_;
	my $kind = (grep { $_ eq $table } @keep_siblings) ? 'siblings' : 'rows';
	my $sql = "CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON $table FOR EACH ROW EXECUTE FUNCTION noted.write('$table');";
	$sql .= "CREATE TRIGGER noted_truncate BEFORE TRUNCATE ON $_ EXECUTE FUNCTION noted.truncate('$table', '$kind');" for $table eq 'part' ? qw(part_low part_high part_rest) : $table;
	$sql .= "CREATE TRIGGER noted_found BEFORE INSERT OR UPDATE OR DELETE ON $table FOR EACH ROW EXECUTE FUNCTION noted.find('$table');" if $kind eq 'siblings';
	return $sql;
}

sub schema
{
	my $merged = '(id int PRIMARY KEY, n int, x numeric, tags text[], attrs jsonb, note text, other text)';
	my $sql = $types . $noting;
	$sql .= "CREATE TABLE $_ ($wide); ALTER TABLE $_ ALTER b SET STORAGE EXTERNAL;" for @wide;
	$sql .= "CREATE TABLE $_ $merged;" for @merged;
	$sql .= <<'SQL';
CREATE TABLE totals (id int PRIMARY KEY, n bigint, x numeric, tags text[], attrs jsonb);
CREATE TABLE uniq (id int PRIMARY KEY, name text UNIQUE, code int, v text);
CREATE UNIQUE INDEX ON uniq (code) WHERE code > 0;
CREATE TABLE uniq_sib (id int PRIMARY KEY, name text UNIQUE, v text);
CREATE TABLE booking (id int PRIMARY KEY, room int, during int4range, v text, EXCLUDE USING gist (room WITH =, during WITH &&));
CREATE TABLE part (id int PRIMARY KEY, n int, v text, b text) PARTITION BY RANGE (id);
CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (5);
CREATE TABLE part_high (b text, gone int, v text, n int, id int NOT NULL);
ALTER TABLE part_high DROP gone;
ALTER TABLE part ATTACH PARTITION part_high FOR VALUES FROM (5) TO (10);
CREATE TABLE part_rest PARTITION OF part DEFAULT;
CREATE TABLE two_keys (k1 text, k2 int, v text, w text, PRIMARY KEY (k1, k2));
CREATE TABLE identity (a int NOT NULL, b text NOT NULL, v text);
CREATE UNIQUE INDEX identity_key ON identity (b, a);
ALTER TABLE identity REPLICA IDENTITY USING INDEX identity_key;
CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, other_id int REFERENCES parent ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED, v text);
CREATE TABLE own (node int, n int, v text);
ALTER TABLE own REPLICA IDENTITY FULL;
CREATE TABLE done (token text);
ALTER TABLE done REPLICA IDENTITY FULL;
CREATE FUNCTION merge_sql(older hand_sql, newer hand_sql) RETURNS hand_sql LANGUAGE sql
	AS $$ SELECT jsonb_populate_record(newer, jsonb_build_object('a', left(concat(older.a, '+', newer.a), 20000), 'n', greatest(older.n, newer.n))) $$;
CREATE FUNCTION merge_pl(older hand_pl, newer hand_pl) RETURNS hand_pl LANGUAGE plpgsql
	AS $$ BEGIN IF older.n = 13 THEN RAISE 'unlucky'; END IF; newer.b := left(concat(older.b, '+', newer.b), 200000); newer.arr := older.arr || newer.arr; RETURN newer; END $$;
INSERT INTO totals SELECT g, 0, 0, '{}', '{}' FROM generate_series(1, 4) g;
SQL
	$sql .= "CREATE TRIGGER noted AFTER UPDATE ON totals FOR EACH ROW EXECUTE FUNCTION noted.add();";
	$sql .= note_writes($_) for @newest, @contested, grep { $_ ne 'sib' && $_ ne 'uniq_sib' } @keep_siblings;
	return $sql;
}

# Policies and merges, on one node when the group stands.
sub settings
{
	my $sql = "SELECT replication_plugin.set_node_priority('{node2,node3,node1}');";
	for my $table (sort keys %policy)
	{
		my $handler = { hand_sql => ", 'merge_sql(hand_sql,hand_sql)'", hand_pl => ", 'merge_pl(hand_pl,hand_pl)'" }->{$table} || '';
		$sql .= "SELECT replication_plugin.set_conflict_policy('$table', '$policy{$table}'$handler);";
	}
	for my $table (@merged)
	{
		$sql .= "SELECT replication_plugin.set_column_merge('$table', '$_', '$merge{$_}');" for sort keys %merge;
	}
	$sql .= "SELECT replication_plugin.set_column_merge('totals', '$_', '$merge{$_}');" for qw(n x tags attrs);
	return $sql;
}

1;
