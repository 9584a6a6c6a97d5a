/*
 * as_owner.h
 *		Runs the code that belongs to a table (expressions, casts, triggers) with the rights and
 *		settings of the table's owner only.
 *
 * Settings that such code changes are restored at the end, because in a worker the next statement
 * of the extension, and the rows of other tables, must not see them. The functions that begin and
 * as_owner_end() form pairs, which may be nested. An error restores the former state with the
 * transaction or subtransaction.
 */
#ifndef REPLICATION_PLUGIN_AS_OWNER_H
#define REPLICATION_PLUGIN_AS_OWNER_H

/* The state to be restored after running as an owner. */
typedef struct OwnerContext
{
	Oid			user;
	int			security;
	int			nest;			/* nest level of settings */
} OwnerContext;

/*
 * Becomes the owner, in a restricted context. For code that calls no functions that look names up.
 */
extern OwnerContext as_owner_begin(Oid owner);

/*
 * The same for code that calls functions: search_path is that of a session of the owner
 * (owner_path.h).
 */
extern OwnerContext as_owner_begin_code(Oid owner);

/*
 * Returns the role as which the code of a leaf partition runs: the leaf's owner, unless that is a
 * superuser and not the root's owner. Then it is the root's owner.
 */
extern Oid	as_owner_of_leaf(Oid root_owner, Oid leaf_owner);

/* Becomes the former role again. */
extern void as_owner_end(OwnerContext saved);

#endif							/* REPLICATION_PLUGIN_AS_OWNER_H */
