/*
 * hooks.h
 *		PostgreSQL's hooks for commands, objects and permissions, its notices of changed tables
 *		and names, and the functions of the extension that take part in them.
 *
 * Each hook is set once, when the library is loaded. A hook that another extension has set before
 * is called as if this were one extension: for commands after all takers, for objects and
 * permissions before them. The takers and their order are listed in replication_plugin.c.
 */
#ifndef REPLICATION_PLUGIN_HOOKS_H
#define REPLICATION_PLUGIN_HOOKS_H

#include "catalog/objectaccess.h"
#include "tcop/utility.h"

#include "base/compat.h"

/* ---------- commands ---------- */

struct UtilityTaker;

/* A command as PostgreSQL passes it to the hook, and the takers that have not been called yet. */
typedef struct UtilityCommand
{
	PlannedStmt *pstmt;
	const char *query;
	bool		read_only_tree;
	ProcessUtilityContext context;
	ParamListInfo params;
	QueryEnvironment *env;
	DestReceiver *dest;
	QueryCompletion *qc;
	const struct UtilityTaker *rest;
} UtilityCommand;

/*
 * Takes part in each command, and calls utility_next() to go on with it. A taker that changes a
 * command goes on with a copy of its own, whose statement is a copy as well.
 */
typedef struct UtilityTaker
{
	void		(*take) (const UtilityCommand *command);
	bool		preloaded;		/* only in a library that was loaded at server start */
} UtilityTaker;

/* Returns true if the command is a transaction statement (BEGIN, COMMIT, ...) of the kind. */
extern bool utility_is_transaction(const UtilityCommand *command, TransactionStmtKind kind);

/* Passes a command to the remaining takers, and then executes it. May be called more than once. */
extern void utility_next(const UtilityCommand *command);

/* ---------- objects ---------- */

#define ON_ACCESS(type)		(1 << (type))

/* Called for accesses to objects of the types that it names; may raise an error. */
typedef struct AccessTaker
{
	int			types;			/* of ON_ACCESS(ObjectAccessType) */
	object_access_hook_type take;
	bool		preloaded;		/* only in a library that was loaded at server start */
} AccessTaker;

/* ---------- permissions ---------- */

/*
 * Called with the tables of each statement and COPY before it runs; may raise an error.
 * required_permissions() tells how a table is accessed.
 */
typedef void (*PermsTaker) (List *range_table, List *permissions);

/* ---------- changes of tables and names ---------- */

/*
 * Called in each process when the definition of a table may have changed, of all tables if relid is
 * InvalidOid. It only marks what the process has cached. PostgreSQL has room for few such
 * callbacks, and none can be unregistered, so all takers share one.
 */
typedef void (*TableTaker) (Oid relid);

/* Called likewise for a schema or type, by the hash value of its cache entry; 0: all of them. */
typedef void (*NameTaker) (uint32 hash);

/* ---------- all of them ---------- */

/* The takers, in the order in which they run. Each list ends with an empty element. */
typedef struct HookTakers
{
	const UtilityTaker *utility;
	const AccessTaker *access;
	const PermsTaker *perms;
	const TableTaker *tables;
	const NameTaker *names;
} HookTakers;

/* Sets the hooks, and registers for changes. Called once, from _PG_init(). */
extern void hooks_install(const HookTakers *takers, bool preloaded);

#endif							/* REPLICATION_PLUGIN_HOOKS_H */
