import '../css/app.css';

const form = document.querySelector('[data-note-form]');
const list = document.querySelector('[data-notes]');

if (form && list) {
    form.addEventListener('submit', async (event) => {
        event.preventDefault();
        const error = form.querySelector('[data-error]');
        error.textContent = '';
        const answer = await send('/notes', { method: 'POST', body: new FormData(form) });
        if (answer.note) {
            form.reset();
            const item = show(answer.note);
            list.prepend(item);
            waitUntilHandled(answer.note.id, item);
        } else {
            error.textContent = answer.errors?.body?.[0] ?? answer.message ?? 'That did not work.';
        }
    });
}

async function send(url, options = {}) {
    try {
        const response = await fetch(url, { ...options, headers: { Accept: 'application/json' } });
        return await response.json();
    } catch {
        return { message: 'The server cannot be reached.' };
    }
}

// A worker picks the note up on its own; ask until it has, for a minute at most.
async function waitUntilHandled(id, item) {
    for (let tries = 0; tries < 60; tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, tries < 10 ? 300 : 1000));
        const { note } = await send(`/notes/${id}`);
        if (note?.handled_at) {
            item.replaceWith(show(note));
            return;
        }
    }
}

function show(note) {
    const item = document.querySelector('[data-note-template]').content.firstElementChild.cloneNode(true);
    item.querySelector('[data-body]').textContent = note.body;
    const state = item.querySelector('[data-state]');
    state.textContent = note.handled_at ? `handled by ${note.handled_by}` : 'waiting for a worker';
    state.classList.toggle('is-waiting', !note.handled_at);
    return item;
}
