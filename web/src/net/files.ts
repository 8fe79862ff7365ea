/** Files: announced to the server, then put where it says, with progress. */

import axios from 'axios';

import type { Attachment } from '../state/model';
import { Unreachable } from './errors';
import type { Rest } from './rest';

export async function upload(
  rest: Pick<Rest, 'newFile'>,
  file: File,
  progress: (share: number) => void,
  signal: AbortSignal,
): Promise<Attachment> {
  const contentType = file.type === '' ? 'application/octet-stream' : file.type;
  const told = await rest.newFile({ name: file.name, size: file.size, contentType });
  try {
    await axios.request({
      method: told.upload.method,
      url: told.upload.url,
      headers: told.upload.headers,
      data: file,
      signal,
      onUploadProgress: ({ loaded, total }) => progress(total ? loaded / total : 0),
    });
  } catch {
    throw new Unreachable(signal.aborted ? 'the upload was stopped' : 'the upload did not finish');
  }
  return { fileId: told.fileId, name: file.name, size: file.size, contentType };
}
