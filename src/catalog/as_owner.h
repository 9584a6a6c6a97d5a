/*
 * as_owner.h
 *		Running what comes with a table (expressions, casts, triggers) with its owner's rights and
 *		settings only.
 *
 * What such code sets is taken back at the end: in a worker the next statement of ours, and the
 * rows of other tables, must not see it. Begin and end form pairs, which may be nested. An error
 * puts things back with the transaction, or subtransaction.
 */
#ifndef REPLICATION_PLUGIN_AS_OWNER_H
#define REPLICATION_PLUGIN_AS_OWNER_H

/* What has to be undone after running as an owner. */
typedef struct OwnerContext
{
	Oid			user;
	int			security;
	int			nest;			/* of settings */
} OwnerContext;

/* Becomes the owner, in a restricted context, where no functions are called that look names up. */
extern OwnerContext as_owner_begin(Oid owner);

/*
 * The same where functions are called: names mean to them what they mean in a session of the owner
 * (owner_path.h).
 */
extern OwnerContext as_owner_begin_code(Oid owner);

/*
 * As whom code of a leaf partition runs: as its owner, unless that is a superuser, and the owner of
 * its root is none.
 */
extern Oid	as_owner_of_leaf(Oid root_owner, Oid leaf_owner);

/* Becomes what it was before. */
extern void as_owner_end(OwnerContext saved);

#endif							/* REPLICATION_PLUGIN_AS_OWNER_H */
