/** The dialogs, in a file of their own: they are loaded after the first view. */

export { Confirm } from './Confirm';
export { Details } from './Details';
export { NewConversation } from './NewConversation';
