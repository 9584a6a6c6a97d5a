/*
 * coverage.h
 *		Whether this node has what a token stands for.
 *
 * All functions need a transaction. They take no transaction snapshot, so that a transaction that
 * waits before its first statement sees what it has waited for.
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

/* Reads a token. Raises an error if it is malformed, or of a newer form. */
extern void coverage_read_token(const char *text, Token *token);

/*
 * Raises an error unless this database is a member of the group that the token names, and can have
 * what it stands for: what a crash of this server has undone never comes.
 */
extern void coverage_require(const Token *token);

/*
 * Returns true if all that the token stands for is visible here: to each snapshot that is taken from
 * now on. Calls coverage_require().
 */
extern bool coverage_has(const Token *token);

/*
 * Waits until coverage_has() is true. Returns false if it is not by the deadline. Serves interrupts,
 * and holds no snapshot that the caller does not hold.
 */
extern bool coverage_wait(const Token *token, Moment deadline);

/*
 * Returns what is missing of a token, for people, palloc'd: the origins, how far they are known
 * here, and how many bytes of their WAL are missing.
 */
extern char *coverage_missing(const Token *token);

#endif							/* REPLICATION_PLUGIN_COVERAGE_H */
