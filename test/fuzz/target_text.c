/*
 * target_text.c
 *		Small texts: causal contexts, frontiers, tokens, options of the output plugin, patterns of tables, dsns.
 */
#include "postgres.h"

#include "libpq-fe.h"
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "port/pg_crc32c.h"

#include "base/dsn.h"
#include "capture/causal_context.h"
#include "fuzz.h"
#include "model/frontier.h"
#include "model/stable.h"
#include "model/token.h"
#include "output/options.h"
#include "output/table_pattern.h"
#include "wire/protocol.h"
#include "wire/value.h"
#include "wire/wire.h"

/* ---------- causal contexts ---------- */

/* What is a context has been printed by us: so each version is printed as it was read. */
static bool
run_context(FuzzInput *in)
{
	char	   *text = fuzz_text(in);
	const char *p = text;
	Version    *read;
	int			n;
	SiblingSet *set = sibling_set_create();
	Frontier   *seen = frontier_create();

	if (!causal_context_parse(text, &read, &n))
		return true;
	for (int i = 0; i < n; i++)
	{
		Sibling		s = {.version = read[i],.deleted = true};
		SiblingSet	one = {.n = 1,.items = &s};
		char	   *printed = causal_context_to_text(&one);

		fuzz_check(strncmp(p, printed, strlen(printed)) == 0);
		p += strlen(printed);
		fuzz_check(*p == ',' || *p == '\0');
		p += *p == ',' ? 1 : 0;
		sibling_add(set, s);
		if (!version_is_oldest(read[i]))
			frontier_raise(seen, read[i].node, InvalidXLogRecPtr, read[i].ts);
	}
	fuzz_check(n > 0 || strcmp(text, "none") == 0);
	fuzz_check(causal_context_covered(set, seen, read, n));
	return true;
}

static void
seeds_context(void)
{
	SiblingSet *set = sibling_set_create();
	char	   *text = causal_context_to_text(set);

	fuzz_seed_text("none", text);
	sibling_add(set, (Sibling) {.version = {800000000000000, 1}});
	text = causal_context_to_text(set);
	fuzz_seed_text("one", text);
	sibling_add(set, (Sibling) {.version = {-5, 2147483647}});
	sibling_add(set, (Sibling) {.version = VERSION_OLDEST});
	text = causal_context_to_text(set);
	fuzz_seed_text("three", text);
}

const FuzzTarget fuzz_context = {"context", NULL, run_context, seeds_context};

/* ---------- frontiers ---------- */

/* Two frontiers, on two lines. */
static bool
run_frontier(FuzzInput *in)
{
	char	   *texts[2] = {fuzz_line(in, '\n'), fuzz_text(in)};
	Frontier   *f[2];
	Frontier   *both = frontier_create();
	Frontier   *stable = frontier_create();
	NodeId		fenced[1] = {2};
	StableMember members[3] = {{.node = 1}, {.node = 2,.removed = true}, {.node = 3,.nfenced = 1,.fenced = fenced}};
	char	   *printed;

	for (int i = 0; i < 2; i++)
	{
		f[i] = frontier_from_text(texts[i]);
		if (!f[i])
			return true;
		printed = frontier_to_text(f[i]);
		fuzz_check(strcmp(frontier_to_text(frontier_from_text(printed)), printed) == 0);
		if (f[i]->n == 1 && strchr(texts[i], ',') == NULL)
			fuzz_check(strcmp(printed, texts[i]) == 0);
		frontier_merge(both, f[i]);
		members[i].row = f[i];
	}
	members[2].row = both;
	fuzz_check(stable_covers(both, f[0]) && stable_covers(both, f[1]));
	(void) stable_raise(stable, members, 3, 1, both);
	fuzz_check(stable_covers(both, stable));
	for (int i = 0; i < both->n; i++)
	{
		fuzz_check(both->entries[i].node > 0);
		fuzz_check(i == 0 || both->entries[i - 1].node < both->entries[i].node);
		(void) stable_removal_finished(members, 3, 1, both, both->entries[i].node);
	}
	return true;
}

static void
seeds_frontier(void)
{
	Frontier   *f = frontier_create();
	char	   *text;

	frontier_raise(f, 1, 0x16B3748, 712345678901234);
	text = frontier_to_text(f);
	fuzz_seed_text("one", text);
	frontier_raise(f, 2, 0x1000001A0, PG_INT64_MIN);
	frontier_raise(f, 2147483647, 0xFFFFFFFFFFFFFFFF, -5);
	text = psprintf("%s\n2:0/1A0:7", frontier_to_text(f));
	fuzz_seed_text("two", text);
	fuzz_seed_text("empty", "");
}

const FuzzTarget fuzz_frontier = {"frontier", NULL, run_frontier, seeds_frontier};

/* ---------- tokens ---------- */

/* A token without its check, which is added: what is read is printed as it was. */
static bool
run_token(FuzzInput *in)
{
	char	   *body = fuzz_text(in);
	char	   *text;
	char		printed[TOKEN_TEXT_SIZE];
	pg_crc32c	crc;
	Token		token;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, body, strlen(body));
	FIN_CRC32C(crc);
	(void) token_from_text(body, &token);
	text = psprintf("%s.%08X", body, crc);
	if (token_from_text(text, &token) != TOKEN_VALID)
		return true;
	token_to_text(&token, printed);
	fuzz_check(strcmp(printed, text) == 0);
	for (int i = 0; i < token.n; i++)
		fuzz_check(token.entries[i].node > 0 && token.entries[i].lsn.value > 0 && token.entries[i].run >= 0);
	return true;
}

static void
seeds_token(void)
{
	fuzz_seed_text("none", "1.0123456789ABCDEF0123456789ABCDEF");
	fuzz_seed_text("three", "1.C0FFEE00C0FFEE00C0FFEE00C0FFEE00.2-16B3748-5.3-1A0.2147483647-FFFFFFFFFFFFFFFF-9223372036854775807");
}

const FuzzTarget fuzz_token = {"token", NULL, run_token, seeds_token};

/* ---------- options ---------- */

/* Lines "name=value", or "name". */
static bool
run_options(FuzzInput *in)
{
	List	   *options = NIL;
	NativeOptions native;
	JsonOptions json;

	while (in->size > 0)
	{
		char	   *name = fuzz_line(in, '\n');
		char	   *value = strchr(name, '=');

		if (value)
			*value++ = '\0';
		options = lappend(options, makeDefElem(name, value ? (Node *) makeString(value) : NULL, -1));
	}
	if (options_want_json(options))
	{
		options_parse_json(options, &json);
		(void) table_pattern_matches(json.include_tables, "public", "users_2024");
		(void) table_pattern_matches(json.exclude_tables, "public", "users_2024");
		return true;
	}
	options_parse_native(options, &native);
	fuzz_check(native.subscriber > 0 && native.group_id);
	return true;
}

static void
seeds_options(void)
{
	char	   *native = psprintf("protocol=%d\nnode_id=7\ngroup_id=0e4f9a7c-0000-4000-8000-000000000001\nfull_origins=1,2\nlayout=%s\nencoding=UTF8",
								  WIRE_PROTOCOL_VERSION, value_layout());
	const char *json = "format=json\nformat-version=2\ninclude-tables=public.*,*.log_*\nexclude-tables=audit.\\*x\ninclude-xids\n"
		"include-timestamp=true\ninclude-lsn=on\ninclude-types=0\ninclude-origin=f\nadd-tables=a.b\nfilter-tables=c.d";

	fuzz_seed_text("native", native);
	fuzz_seed_text("json", json);
	fuzz_seed_text("own", "protocol=1\nfull_origins=own");
	fuzz_seed_text("all", "format=native\nfull_origins=all");
}

const FuzzTarget fuzz_options = {"options", NULL, run_options, seeds_options};

/* ---------- patterns ---------- */

/* A schema's name, a table's name, and a list of patterns, on three lines. */
static bool
run_pattern(FuzzInput *in)
{
	char	   *nspname = fuzz_line(in, '\n');
	char	   *relname = fuzz_line(in, '\n');
	char	   *text = fuzz_text(in);
	List	   *list;
	StringInfoData exact;

	if (strlen(nspname) >= NAMEDATALEN || strlen(relname) >= NAMEDATALEN || !*nspname || !*relname)
		return false;
	/* a name with all in it protected matches itself, and nothing else */
	initStringInfo(&exact);
	for (const char *p = nspname; *p; p++)
		appendStringInfo(&exact, "\\%c", *p);
	appendStringInfoChar(&exact, '.');
	for (const char *p = relname; *p; p++)
		appendStringInfo(&exact, "\\%c", *p);
	list = table_pattern_parse("include-tables", exact.data);
	fuzz_check(table_pattern_matches(list, nspname, relname));
	fuzz_check(!table_pattern_matches(list, nspname, psprintf("%s_", relname)));
	list = table_pattern_parse("include-tables", text);
	(void) table_pattern_matches(list, nspname, relname);
	fuzz_check(table_pattern_matches(table_pattern_parse("include-tables", psprintf("%s,*.*", text)), nspname, relname));
	return true;
}

static void
seeds_pattern(void)
{
	fuzz_seed_text("simple", "public\nusers\npublic.users,audit.*,*.log_*");
	fuzz_seed_text("escaped", "a.b\nc,d\na\\.b.c\\,d, x.y\\ ");
	fuzz_seed_text("stars", "public\naaaaaaaaaaaaaaaaaaaa\n*.a*a*a*b");
}

const FuzzTarget fuzz_pattern = {"pattern", NULL, run_pattern, seeds_pattern};

/* ---------- dsns ---------- */

#define SECRET "PaSsWoRt"

/* The value of an option, or "". */
static const char *
value_of(const PQconninfoOption *options, const char *keyword)
{
	for (; options->keyword; options++)
	{
		if (strcmp(options->keyword, keyword) == 0)
			return options->val ? options->val : "";
	}
	return "";
}

/* What is shown of a dsn says the same, but for its secrets. */
static bool
run_dsn(FuzzInput *in)
{
	char	   *dsn = fuzz_text(in);
	char	   *shown = dsn_without_secrets(dsn);
	PQconninfoOption *before = PQconninfoParse(dsn, NULL);
	PQconninfoOption *after = PQconninfoParse(shown, NULL);
	bool		elsewhere = false;	/* the secret's text is also in an option that is none */

	if (!before)
	{
		/* a foreign server's name, which is no secret */
		fuzz_check(!after && strncmp(shown, "foreign_server=", 15) == 0 && strcmp(dsn_without_secrets(shown), shown) == 0);
		return true;
	}
	fuzz_check(after);
	for (PQconninfoOption *o = before; o->keyword; o++)
	{
		bool		secret = o->dispchar[0] == '*';

		fuzz_check(strcmp(value_of(after, o->keyword), secret || !o->val ? "" : o->val) == 0);
		if (!secret && o->val && strstr(o->val, SECRET))
			elsewhere = true;
	}
	fuzz_check(elsewhere || strstr(shown, SECRET) == NULL);
	PQconninfoFree(before);
	PQconninfoFree(after);
	return true;
}

static void
seeds_dsn(void)
{
	const char *plain = "host=db1.example.com port=5432 dbname='my \\'db' user=repl password=" SECRET " options='-c a=b'";
	const char *uri = "postgresql://repl:" SECRET "@[::1]:5432,b:5433/app?sslpassword=" SECRET "&connect_timeout=5&application_name=%41";

	fuzz_seed_text("plain", plain);
	fuzz_seed_text("uri", uri);
	fuzz_seed_text("server", " foreign_server = 'to\\'kyo\\\\' ");
}

const FuzzTarget fuzz_dsn = {"dsn", NULL, run_dsn, seeds_dsn};
