/*
 * join_schema.c
 *		The schema of a joining node: pg_dump of the source's snapshot, pg_restore here.
 *
 * Each part is restored in one transaction, so it is there wholly or not at all.
 */
#include "postgres.h"

#include "base/peer.h"
#include "base/run_program.h"
#include "catalog/names.h"
#include "control/join.h"

/* The password in a dsn, NULL if there is none. */
static char *
password_of(const char *dsn)
{
	PQconninfoOption *options = PQconninfoParse(dsn, NULL);
	char	   *password = NULL;

	for (PQconninfoOption *o = options; o && o->keyword; o++)
	{
		if (strcmp(o->keyword, "password") == 0 && o->val && o->val[0])
			password = pstrdup(o->val);
	}
	PQconninfoFree(options);
	return password;
}

void
join_dump_schema(Join *join, const char *file)
{
	const char *argv[] = {
		program_path("pg_dump"), "--format=custom", "--schema-only", "--no-publications",
		"--no-subscriptions", "--no-sync", "--exclude-schema=" EXTENSION_SCHEMA,
		psprintf("--snapshot=%s", join->snapshot),
		psprintf("--file=%s", file),
		psprintf("--dbname=%s", peer_dsn_without_secrets(join->local->source_dsn)),
		NULL
	};

	run_program(argv, password_of(join->local->source_dsn));
}

void
join_restore_schema(Join *join, const char *file, const char *section)
{
	const char *argv[] = {
		program_path("pg_restore"), "--single-transaction", "--exit-on-error",
		psprintf("--section=%s", section),
		psprintf("--dbname=%s", peer_dsn_without_secrets(join->local->dsn)),
		file,
		NULL
	};

	run_program(argv, password_of(join->local->dsn));
}
