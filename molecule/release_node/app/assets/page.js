// Long enough to be sent compressed.
const words = 'a release that never breaks the site '.split(' ');
document.title = Array.from({ length: 40 }, (_, at) => words[at % words.length] + at).join(' ') + ' VERSION';
