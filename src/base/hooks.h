/*
 * hooks.h
 *		PostgreSQL's hooks for commands, objects and permissions, and who takes part in them.
 *
 * Each hook is set once, when the library is loaded. What was set before, by other extensions, is
 * called as if we were one extension: for a command after all of our takers, for objects and
 * permissions before them. Who takes part, and in which order, is listed in replication_plugin.c.
 */
#ifndef REPLICATION_PLUGIN_HOOKS_H
#define REPLICATION_PLUGIN_HOOKS_H

#include "catalog/objectaccess.h"
#include "tcop/utility.h"

/* ---------- commands ---------- */

struct UtilityTaker;

/* A command as PostgreSQL gives it to its hook, and the takers that have not seen it yet. */
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
 * Takes part in each command, and has it go on by utility_next(). A taker that changes a command
 * goes on with a copy of its own, whose statement is a copy as well.
 */
typedef struct UtilityTaker
{
	void		(*take) (const UtilityCommand *command);
	bool		preloaded;		/* only in a library that was loaded with the server */
} UtilityTaker;

/* True for a command like BEGIN or COMMIT, of a kind. */
extern bool utility_is_transaction(const UtilityCommand *command, TransactionStmtKind kind);

/* Has a command seen by the takers that follow, and then done. May be called more than once. */
extern void utility_next(const UtilityCommand *command);

/* ---------- objects ---------- */

#define ON_ACCESS(type)		(1 << (type))

/* Is told of accesses to objects of the types that it names, and may raise an error. */
typedef struct AccessTaker
{
	int			types;			/* of ON_ACCESS(ObjectAccessType) */
	object_access_hook_type take;
	bool		preloaded;		/* only in a library that was loaded with the server */
} AccessTaker;

/* ---------- permissions ---------- */

/* Is told of the tables of each statement and COPY before it runs, and may raise an error. */
typedef void (*PermsTaker) (List *range_table);

/* ---------- all of them ---------- */

/* Who takes part, in the order in which they run. Each list ends with an empty element. */
typedef struct HookTakers
{
	const UtilityTaker *utility;
	const AccessTaker *access;
	const PermsTaker *perms;
} HookTakers;

/* Sets the hooks; once, from _PG_init. */
extern void hooks_install(const HookTakers *takers, bool preloaded);

#endif							/* REPLICATION_PLUGIN_HOOKS_H */
