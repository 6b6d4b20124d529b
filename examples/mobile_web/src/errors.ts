/** What the user can mend: its message goes onto the page, and nothing into the console. */
export class UserError extends Error {}
