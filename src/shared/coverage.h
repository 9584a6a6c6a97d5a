/*
 * coverage.h
 *		Whether this node has what a token stands for.
 *
 * The functions take no transaction snapshot, so that a transaction that waits before its first
 * statement sees what it has waited for. All but coverage_of_node() work without a transaction.
 */
#ifndef REPLICATION_PLUGIN_COVERAGE_H
#define REPLICATION_PLUGIN_COVERAGE_H

#include "base/moment.h"
#include "model/token.h"

/* SQLSTATEs of tokens. */
#define ERRCODE_TOKEN_MALFORMED		MAKE_SQLSTATE('R', 'P', '0', '1', '0')
#define ERRCODE_TOKEN_OTHER_GROUP	MAKE_SQLSTATE('R', 'P', '0', '1', '1')
#define ERRCODE_TOKEN_NEWER			MAKE_SQLSTATE('R', 'P', '0', '1', '2')
#define ERRCODE_TOKEN_LOST			MAKE_SQLSTATE('R', 'P', '0', '1', '3')
#define ERRCODE_TOKEN_NOT_COVERED	MAKE_SQLSTATE('R', 'P', '0', '1', '4')

/* What is known of this node to judge tokens by. */
typedef struct CoverageNode
{
	uint8		group[TOKEN_GROUP_BYTES];
	NodeId		node;
	int64		run;			/* number of this run of the server */
	XLogRecPtr	run_start;		/* invalid: not known yet */
} CoverageNode;

/*
 * Returns what is wrong with the text of a token, as an error message with its SQLSTATE and a hint;
 * NULL if nothing is, and then fills the token.
 */
extern const char *coverage_read_token(const char *text, Token *token, int *sqlstate,
									   const char **hint);

/* Reads a token likewise, and raises the error. */
extern void coverage_require_token(const char *text, Token *token);

/*
 * Returns this node. Raises an error if this database is in no group, or is a copy of a member. Needs
 * a transaction.
 */
extern CoverageNode coverage_of_node(void);

/*
 * Returns true if all that the token stands for is visible here: to each snapshot that is taken from
 * now on. Raises an error if the token is of another group, or if it stands for a commit of this node
 * that is gone: a crash has undone it, or the server was restored.
 */
extern bool coverage_has(const CoverageNode *me, const Token *token);

/*
 * Waits until coverage_has() is true. Returns false if it is not by the deadline. Serves interrupts,
 * and holds no snapshot that the caller does not hold.
 */
extern bool coverage_wait(const CoverageNode *me, const Token *token, Moment deadline);

/*
 * Returns what is missing of a token, for people, palloc'd: the origins, how far they are known
 * here, and how many bytes of their WAL are missing. Empty if nothing is.
 */
extern char *coverage_missing(const CoverageNode *me, const Token *token);

#endif							/* REPLICATION_PLUGIN_COVERAGE_H */
